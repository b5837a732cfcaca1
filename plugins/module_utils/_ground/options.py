# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that are declared as the fields of the data class that is made of them. Pure."""

from __future__ import annotations

import re
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping


T = TypeVar("T")

# By the first word of a field's annotation, the type of the option.
_TYPES: dict[str, dict[str, Any]] = {
    **{name: {"type": name} for name in ("bool", "int", "str")},
    "Mapping": {"type": "dict"},
    **{name: {"type": "list", "elements": "str"} for name in ("Sequence", "frozenset", "tuple")},
}


def option(**spec: Any) -> Any:
    """Return a field of a data class that is the option of its name. :param spec: the keys of its spec but the type."""
    # The caller is the body of the data class.
    # pylint: disable-next=invalid-field-call
    return field(default_factory=lambda: spec.get("default"), metadata={"spec": spec})


def spec_of(kind: Any) -> dict[str, dict[str, Any]]:
    """Return the argument spec of the options that a data class declares."""
    return {
        each.name: {**_TYPES[re.split(r"\W", str(each.type))[0]], **each.metadata["spec"]}
        for each in fields(kind)
        if each.metadata
    }


def read_options(kind: type[T], params: Mapping[str, Any], **given: Any) -> T:
    """Return a data class whose fields are the options of their names, so that no list of options is kept by hand.

    :param given: the values of the fields that are not options of the same name.
    """
    shape: Any = kind
    names = [each.name for each in fields(shape) if each.name not in given]
    return kind(**{name: params[name] for name in names}, **given)
