"""States that tests begin with. A real run makes each once in a worker's session, and a test goes back to it.

A state is a function that makes it. It can begin with another state:

    def after_site(states: States) -> Fleet:
        fleet = states.begin(before_site)
        fleet.play("site").assert_succeeded()
        return fleet
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from emulator import Emulator
from fleet import Fleet
from harness import Controller

T = TypeVar("T")
Made = dict[str, tuple[Controller, Any]]
"""By name, the controller and the value of each state that was made."""


@dataclass(frozen=True)
class States:
    """The states of one emulator. :param made: those that were made; the emulator has saved them."""

    controller: Controller
    made: Made

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    def begin(self, make: Callable[[States], T]) -> T:
        """Bring the account, its machines, its clock and the controller's folder to a state, and return its value.

        No call or fault of the time before is left.
        """
        name = f"{make.__module__}.{make.__qualname__}"
        if name not in self.made:
            self.aws.reset()
            made = make(self)
            self.aws.save(name, self.controller.home)
            self.made[name] = self.controller, copy.deepcopy(made, {id(self.controller): self.controller})
        earlier, value = self.made[name]
        self.aws.restore(name)
        return copy.deepcopy(value, {id(earlier): self.controller})


def before_site(states: States) -> Fleet:
    """Two EC2 servers, an admin instance, and an on-premises server whose key is delivered, in an empty account."""
    fleet = Fleet(states.controller)
    fleet.add_instance("admin1", group="ec2_admin")
    fleet.add_instance("web1")
    fleet.add_instance("web2")
    fleet.add_machine("db1")
    fleet.configure({"agent": {"metrics_collection_interval": 60}})
    return fleet


def after_site(states: States) -> Fleet:
    """The same after the first site.yml."""
    fleet = states.begin(before_site)
    fleet.play("site").assert_succeeded()
    return fleet
