# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the syntax of an OpenTelemetry configuration, which is text in YAML and is stored as it is. Pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-appending-OpenTelemetry-config-files.html
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import rules
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import REFERENCE, REFERENCE_REFUSED
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import Problem
from ansible_collections.cwagent.iam.plugins.module_utils._findings import ERROR, NOTICE

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import Content

_NOTICE = "this is an OpenTelemetry configuration, of which only the syntax was checked"


def is_json(content: Content) -> bool:
    """Return whether a configuration is JSON, which the agent ignores under such a name."""
    if not isinstance(content, (str, bytes)):
        return True
    try:
        return isinstance(json.loads(content), (dict, list))
    except (ValueError, RecursionError):
        return False


def read_yaml(content: str | bytes, source: str) -> tuple[str | None, list[Problem]]:
    """Return a configuration as text, or ``None`` if it cannot be stored, and its problems."""
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError:
        return None, [Problem((), rules.YAML, "the file is not in UTF-8", ERROR, source=source)]
    found = _problem(text)
    return None if found.severity == ERROR else text, [replace(found, source=source)]


def _problem(text: str) -> Problem:
    """Return the first mistake in a text, or else the notice."""
    if REFERENCE in text:
        return Problem((), rules.REFERENCE, REFERENCE_REFUSED, ERROR)
    try:
        import yaml  # noqa: PLC0415  slow, rare, and missing on instances
    except ImportError:  # the controller has it, and has checked the text
        return Problem((), rules.OPENTELEMETRY, f"{_NOTICE}, on the controller", NOTICE)
    try:
        # The agent would construct the values, which need not be checked.
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        if isinstance(error, yaml.composer.ComposerError) and "single document" in str(error.context):
            return Problem((), rules.YAML, "this contains more than one YAML document", ERROR, **place)
        return Problem((), rules.YAML, f"this is not YAML: {error.problem}", ERROR, **place)
    except (yaml.YAMLError, RecursionError):
        return Problem((), rules.YAML, "this is not YAML", ERROR)
    if not isinstance(node, yaml.MappingNode):
        return Problem((), rules.YAML, "the configuration is not a mapping", ERROR)
    return Problem((), rules.OPENTELEMETRY, _NOTICE, NOTICE)
