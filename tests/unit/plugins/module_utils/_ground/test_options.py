"""Options that a data class declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cwagent.iam.plugins.module_utils._ground.options import option, read_options, spec_of


@dataclass(frozen=True)
class Declared:
    computed: str
    name: str = option(required=True)
    role: str | None = option()
    minutes: int = option(default=15)
    force: bool = option(default=False)
    users: Sequence[str] = option(default=[])
    regions: tuple[str, ...] = option(default=["eu-1"])
    tags: Mapping[str, str] | None = option()
    path: str = option(type="path", choices=["/a", "/b"], default="/a")
    no_option: int = 1


def test_the_spec_has_the_options_in_their_order_and_no_other_field() -> None:
    assert list(spec_of(Declared).items()) == [
        ("name", {"type": "str", "required": True}),
        ("role", {"type": "str"}),
        ("minutes", {"type": "int", "default": 15}),
        ("force", {"type": "bool", "default": False}),
        ("users", {"type": "list", "elements": "str", "default": []}),
        ("regions", {"type": "list", "elements": "str", "default": ["eu-1"]}),
        ("tags", {"type": "dict"}),
        ("path", {"type": "path", "choices": ["/a", "/b"], "default": "/a"}),
    ]


@pytest.mark.parametrize("given", [{}, {"minutes": 3, "users": ["u"], "tags": {"a": "b"}, "path": "/b"}])
def test_an_option_that_is_not_given_has_its_default_with_and_without_ansible(given: dict[str, Any]) -> None:
    validated = ArgumentSpecValidator(spec_of(Declared)).validate({"name": "n", **given})
    assert validated.error_messages == []
    read = read_options(Declared, validated.validated_parameters, computed="c", no_option=2)
    assert read == Declared("c", name="n", no_option=2, **given)
