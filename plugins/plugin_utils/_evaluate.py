# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates variables one by one, to identify undefined variables by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import Undefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def evaluate(variables: Mapping[str, Any], names: Iterable[str], templar: Any) -> dict[str, Any]:
    """Return the values of the variables that are set, and ``Undefined`` if one cannot be evaluated.

    :param templar: an ``ansible.template.Templar`` that knows the variables.
    """
    values = {name: evaluate_value(variables[name], templar) for name in names if name in variables}
    # ansible-core 2.18 leaves the place of an omitted option in the value; newer versions refuse it.
    omitted = variables.get("omit")
    return {name: Undefined("it is omit") if omitted and value == omitted else value for name, value in values.items()}


def evaluate_value(value: Any, templar: Any) -> Any:
    """Return the value of a variable, and ``Undefined`` if it cannot be evaluated."""
    try:
        found = templar.template(value)
        # ansible-core 2.18 decrypts a value of Ansible Vault only where it is used, and its type is not text.
        return str(found) if isinstance(found, Sequence) and not isinstance(found, (str, list, tuple)) else found
    except Exception as error:  # noqa: BLE001  ansible-core 2.18 lets through any error of a template
        return Undefined(" ".join(str(getattr(error, "message", error)).split()).rstrip("."))
