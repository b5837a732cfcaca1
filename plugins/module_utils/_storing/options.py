# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of cwagent_store_config with the ways to store, and the object that is made of them once. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._configuration.options import OFF, Handling
from .._configuration.parameter_plan import LIMITS
from .._ground import environment
from .._ground.errors import InvalidInput
from .._ground.options import option, read_options, spec_of
from .._ground.planned import PLANNED_SPEC, Planned
from .._keys.stores import PLACE_SPEC, PROFILE_SPEC, KeySource

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


PREVIOUS = "previous"
_VERSION = rf"(?:([^=]+)=)?({PREVIOUS}|[1-9][0-9]*)"
VALIDATED, FITTED, COMPARED, STORED, OPENED = "validated", "fitted", "compared", "stored", "opened"
# The ways to store, and whose admin window they open.
INSTANCE, RUN_COMMAND, AUTO = "instance", "run_command", "auto"
ONPREM, CONTROLLER = "onprem", "controller"
ROLE, USER = "role", "user"


@dataclass(frozen=True)
class Need:
    """The needs of a way to store.

    :param principal: whose admin window it opens: ``ROLE``, of an instance, or ``USER``, of a host on premises. Empty
        if it uses the credentials of the task.
    :param connects: whether Ansible connects to a host.
    """

    principal: str = ""
    connects: bool = True


# The values of the option ``from`` and of ``cwagent_store_config_from``. ``task.py`` has the class of each.
WAYS = {
    INSTANCE: Need(ROLE),
    RUN_COMMAND: Need(ROLE, connects=False),
    AUTO: Need(ROLE),
    ONPREM: Need(USER),
    CONTROLLER: Need(connects=False),
}


@dataclass(frozen=True)
class Given:
    """A configuration that a user gives.

    :param file: its path on the controller. Empty if an earlier version is stored again.
    :param regions: where to store it. The empty text stands for the region of the task.
    """

    name: str = option(required=True)
    file: str = option(default="")
    regions: tuple[str, ...] = option(default=[])


NOT_COMPARED = (
    "compared must be the result of a task with the state compared and the same configurations. Register that task, "
    "and use its result as it is."
)
_ENTRY = {"name": str, "region": str, "digest": str, "exists": bool, "differs": bool}


@dataclass(frozen=True)
class Compared:
    """The configurations that an earlier task has validated and compared, by name and digest.

    :param entries: as ``Configuration.to_comparison`` renders them.
    :param source: the way to store, which is never ``auto``.
    :param earlier: the profile and the role that the instance had.
    """

    entries: Sequence[Mapping[str, Any]]
    source: str
    earlier: Mapping[str, Any]

    @classmethod
    def of(cls, result: Mapping[str, Any] | None) -> Compared | None:
        """Return the object for the registered result of that task; ``None`` if it was skipped.

        :raises InvalidInput: it is not such a result.
        """
        if result is None or result.get("skipped"):
            return None
        try:
            found = cls(result["compared"], result["source"], result["earlier_identity"])
            forms = {tuple(type(each[key]) for key in _ENTRY) for each in found.entries}
        except (KeyError, TypeError):
            raise InvalidInput(NOT_COMPARED) from None
        if not forms <= {tuple(_ENTRY.values())} or found.source not in WAYS or found.source == AUTO:
            raise InvalidInput(NOT_COMPARED)
        return found

    def digests_of(self, name: str, regions: Collection[str]) -> set[str]:
        """Return the digests of the contents of a configuration that were valid.

        :param regions: the empty text stands for the region of the task.
        :raises InvalidInput: there are none.
        """
        found = {
            each["digest"]
            for each in self.entries
            if each["name"] == name and ("" in regions or each["region"] in regions)
        }
        if not found:
            raise InvalidInput(NOT_COMPARED)
        return found

    @property
    def differing(self) -> dict[tuple[str, str], bool]:
        """By name and region of each configuration for which there is something to do, whether it was stored before."""
        return {(each["name"], each["region"]): each["exists"] for each in self.entries if each["differs"]}


# How to find and validate the configurations.
CONFIGS_SPEC: dict[str, Any] = {
    "configs": {"type": "list", "elements": "dict", "default": [], "options": spec_of(Given)},
    "regions": {"type": "list", "elements": "str", "default": [""]},
    "agent_schema": {"type": "str", "default": ""},
    **spec_of(Handling),
    "parameter_tier": {"type": "str", "choices": ["", *LIMITS], "default": ""},
    "config_version": {"type": "str", "default": ""},
    "emf_log_groups": {"type": "list", "elements": "str", "default": []},
    "compared": {"type": "dict"},
}


@dataclass(frozen=True)
class GivenConfigs:
    """The configurations of a task.

    :param config_version: by name, the versions to store again. The empty name stands for all configurations.
    :param compared: the outcome of an earlier task, which has validated them; ``None`` to validate them.
    """

    configs: Sequence[Given]
    handling: Handling
    config_version: Mapping[str, str]
    compared: Compared | None

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> GivenConfigs:
        """Return the object for the validated options of ``CONFIGS_SPEC``."""
        tags = params.get("parameter_tags", {})
        handling = read_options(Handling, params, parameter_tier=params["parameter_tier"] or None, tags=tags)
        compared = Compared.of(params["compared"])
        return cls(_given_configurations(params), handling, read_wanted(params["config_version"]), compared)


@dataclass(frozen=True)
class AdminOptions:
    """The principals that can store, with the options of these names."""

    instance_id: str = option(default="")
    admin_profile: str = option(default="CloudWatchAgentAdminRole")
    admin_role_name: str = option()
    server_profile: str = option(default="CloudWatchAgentServerRole")
    admin_user_name: str = option(default="CloudWatchAgentAdminUser")
    credentials_file: str = option(default="")
    admin_window: bool = option(default=True)
    admin_window_minutes: int = option(default=15)


@dataclass(frozen=True)
class Waits:
    """How long to wait in seconds, with the options of these names."""

    wait_timeout: int = option(default=180)
    identity_timeout: int = option(default=300)
    permission_timeout: int = option(default=180)


@dataclass(frozen=True)
class StoreOptions(GivenConfigs):
    """The options of a task. Each group of options has its own object.

    :param way: the option ``from``.
    :param planned: the results of earlier tasks.
    """

    way: str
    emf_log_groups: Sequence[str]
    admin: AdminOptions
    key: KeySource
    planned: Planned
    waits: Waits
    state: str = option(choices=[VALIDATED, FITTED, COMPARED, STORED, OPENED], default=STORED)
    agent_schema_path: str = option(default="/opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json")
    account_id: str = option(default="")
    remove_surplus_parameters: bool = option(default=False)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> StoreOptions:
        """Return the object for the validated options."""
        # Only a task that stores continues the work of an earlier one.
        compared = params["compared"] if params["state"] == STORED else None
        return read_options(
            cls,
            params,
            way=params["from"],
            **vars(GivenConfigs.of({**params, "compared": compared})),
            admin=read_options(
                AdminOptions,
                params,
                admin_role_name=params["admin_role_name"] or params["admin_profile"],
            ),
            key=read_options(KeySource, params, user=params["admin_user_name"]),
            planned=Planned(params["planned"]),
            waits=read_options(Waits, params),
        )

    @property
    def needs_agent_schema(self) -> bool:
        """Whether to validate with the schema of the agent that is installed."""
        handling = self.handling
        return bool(self.agent_schema_path) and not handling.agent_schema and handling.config_validation != OFF


SPEC: dict[str, Any] = {
    "from": {"type": "str", "choices": [*WAYS], "default": INSTANCE},
    **CONFIGS_SPEC,
    **spec_of(StoreOptions),
    "parameter_tags": {"type": "dict", "default": {}},
    **spec_of(AdminOptions),
    **PLACE_SPEC,
    **PROFILE_SPEC,
    **PLANNED_SPEC,
    **spec_of(Waits),
    **environment.ENVIRONMENT_SPEC,
}
RULES: dict[str, Any] = {}


def read_wanted(text: str) -> dict[str, str]:
    """Return by name the versions in a text. The empty name stands for all configurations.

    :raises InvalidInput: it is neither a version nor a list of names with versions.
    """
    entries = [each.strip() for each in text.split(",")] if text.strip() else []
    found = [re.fullmatch(_VERSION, each) for each in entries]
    wanted = {match[1] or "": match[2] for match in found if match}
    if len(wanted) < len(entries) or ("" in wanted and len(entries) > 1):
        raise InvalidInput(
            f"'{text}' is not a version. It must be a number, {PREVIOUS}, or names with versions, such as "
            "AmazonCloudWatch-linux=41,AmazonCloudWatch-windows=7."
        )
    return wanted


def parts_in(wanted: Mapping[str, str], configured: Collection[str]) -> dict[str, str]:
    """Return by name the configuration of each part of a split configuration that has its own version."""
    found = {name: re.fullmatch("(.+)-(?:[2-9]|[1-9][0-9]+)", name) for name in wanted if name not in configured}
    return {name: match[1] for name, match in found.items() if match and match[1] in configured}


def version_problems(wanted: Mapping[str, str], configured: Collection[str]) -> list[str]:
    """Return the problems of the names with versions. :param configured: the names of the configurations."""
    parts = parts_in(wanted, configured)
    unknown = sorted(wanted.keys() - {"", *configured, *parts})
    without_numbers = [name for name, whole in parts.items() if PREVIOUS in (wanted[name], wanted.get(whole, PREVIOUS))]
    return [
        *(f"there is no configuration '{name}'." for name in unknown),
        *(f"'{name}' is a part of configuration '{parts[name]}', and both need a number." for name in without_numbers),
    ]


def version_of(wanted: Mapping[str, str], name: str) -> str:
    """Return the version of a configuration that is stored again; empty if there is none."""
    return wanted.get(name) or wanted.get("", "")


def _given_configurations(params: Mapping[str, Any]) -> list[Given]:
    own = params["region"] or ""
    return [
        Given(
            each["name"],
            each["file"],
            tuple(dict.fromkeys(region or own for region in each["regions"] or params["regions"])),
        )
        for each in params["configs"]
    ]
