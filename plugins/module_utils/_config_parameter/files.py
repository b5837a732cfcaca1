# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads agent configurations and JSON schemas from files on the host that runs the module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

# More mistakes than these tend to repeat the first one.
MAX_REPORTED_ERRORS = 5


def read_config(config: Any, src: str | None) -> dict[str, Any]:
    """Read the configuration from an option or from a file.

    :param config: a mapping, or JSON text.
    :param src: the path of a file, where ``config`` is not given.
    :raises InvalidInput: it cannot be read, or is not an agent configuration.
    """
    if src is not None:
        return config_plan.parse(_read(src), src)
    if isinstance(config, str):
        return config_plan.parse(config, "config")
    return config_plan.check_config(config, "config")


def check_schema(config: dict[str, Any], path: str) -> None:
    """Validate a configuration against a JSON schema.

    :raises InvalidInput: it does not match; the message names the places.
    """
    try:
        import jsonschema  # noqa: PLC0415  not above, since it takes a tenth of a module's time, and few runs use it
    except ImportError as error:
        raise InvalidInput(
            "schema was given, but the Python library jsonschema is not installed on this host; install it, or leave "
            "schema out."
        ) from error
    try:
        schema = json.loads(_read(path))
        validator_class = jsonschema.validators.validator_for(schema)
        validator_class.check_schema(schema)
        mistakes = sorted(validator_class(schema).iter_errors(config), key=lambda mistake: mistake.json_path)
    except (ValueError, jsonschema.exceptions.SchemaError) as error:
        raise InvalidInput(f"{path} is not a JSON schema: {error}") from error
    if mistakes:
        shown = "; ".join(f"{each.json_path}: {each.message}" for each in mistakes[:MAX_REPORTED_ERRORS])
        more = f"; and {len(mistakes) - MAX_REPORTED_ERRORS} more" if len(mistakes) > MAX_REPORTED_ERRORS else ""
        raise InvalidInput(f"The configuration does not match the schema {path}: {shown}{more}.")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text.") from error
