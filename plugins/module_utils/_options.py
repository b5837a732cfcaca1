# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes typed objects from the validated options of a module. Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def read_options(kind: type[T], params: Mapping[str, Any], **given: Any) -> T:
    """Return a data class whose fields are the options of their names, so that no list of options is kept by hand.

    :param given: the values of the fields that are not options of the same name.
    """
    shape: Any = kind
    names = [each.name for each in fields(shape) if each.name not in given]
    return kind(**{name: params[name] for name in names}, **given)
