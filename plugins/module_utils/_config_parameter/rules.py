# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules about an agent configuration. Pure."""

from __future__ import annotations

from ansible_collections.cwagent.iam.plugins.module_utils._findings import CONFIGURATION, ERROR, NOTICE, WARNING, Rule

FILE = Rule("file", CONFIGURATION, (ERROR,), "a file cannot be read")
JSON = Rule("json", CONFIGURATION, (ERROR,), "the text is not JSON")
YAML = Rule("yaml", CONFIGURATION, (ERROR,), "an OpenTelemetry configuration is not YAML")
REFERENCE = Rule("reference", CONFIGURATION, (ERROR,), "Parameter Store refuses two braces in a text")
MERGE = Rule("merge", CONFIGURATION, (ERROR,), "several configurations cannot be merged")
SIZE = Rule("size", CONFIGURATION, (ERROR,), "it is too large for its parameter")
PROBLEMS = Rule("problems", CONFIGURATION, (ERROR,), "it breaks so many rules that some are left out")
SECTION = Rule("section", CONFIGURATION, (ERROR, WARNING), "a section is unknown, or none makes the agent collect")
UNKNOWN_KEY = Rule("unknown-key", CONFIGURATION, (ERROR, WARNING), "a key is unknown", is_lenient=True)
MISSPELLED = Rule("misspelled", CONFIGURATION, (ERROR, WARNING), "a name is nearly a known one", is_lenient=True)
MISSING_KEY = Rule("missing-key", CONFIGURATION, (ERROR,), "a key is missing", is_lenient=True)
WRONG_VALUE = Rule("wrong-value", CONFIGURATION, (ERROR,), "a value is not valid", is_lenient=True)
DUPLICATE_ENTRY = Rule("duplicate-entry", CONFIGURATION, (ERROR,), "a list has the same entry twice", is_lenient=True)
LOG_GROUP = Rule("log-group", CONFIGURATION, (ERROR,), "a log group has two retentions or classes", is_lenient=True)
PLACEHOLDER = Rule("placeholder", CONFIGURATION, (ERROR, WARNING), "a placeholder is unknown", is_lenient=True)
PATTERN = Rule("pattern", CONFIGURATION, (ERROR,), "a regular expression is not valid", is_lenient=True)
SCHEMA = Rule("schema", CONFIGURATION, (ERROR, WARNING), "the agent's schema was not used", is_lenient=True)
RUN_AS_USER = Rule("run-as-user", CONFIGURATION, (WARNING,), "the agent's user may not read a log file")
PLATFORM = Rule("platform", CONFIGURATION, (WARNING,), "only servers of another platform collect a section")
ON_PREMISES = Rule("on-premises", CONFIGURATION, (WARNING,), "a setting does not work on premises")
PERMISSION = Rule("permission", CONFIGURATION, (NOTICE,), "it needs more than the server policy allows", listed=False)
OPENTELEMETRY = Rule("opentelemetry", CONFIGURATION, (NOTICE,), "only its syntax was checked", listed=False)
RULES = [each for each in globals().values() if isinstance(each, Rule)]
