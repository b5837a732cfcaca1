# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads agent configurations and JSON schemas from files on the host that runs the module."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import MAX_SIZE
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


def read_file(path: str) -> bytes:
    """Read a file, and never more than a configuration or schema can have: some files have no end.

    :raises InvalidInput: it cannot be read, is not a regular file, or is too large.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInput(f"{path} cannot be read: it is not a regular file.")
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_SIZE:
        raise InvalidInput(f"{path} cannot be read: it is larger than {MAX_SIZE} bytes.")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a FIFO without a writer, too."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: str) -> str:
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text.") from error
