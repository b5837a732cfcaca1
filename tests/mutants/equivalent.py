"""Mutants that behave like the original, so that no test can notice them."""

from __future__ import annotations

# For each file below plugins/: the original line, the mutant's line, and why nobody can tell them apart.
EQUIVALENT: dict[str, list[tuple[str, str, str]]] = {
    "module_utils/_accounts/evaluate.py": [
        (
            "if len(actual) > 1 and not quantifier:",
            "if len(actual) != 1 and not quantifier:",
            "there is a value",
        ),
        (
            """pattern += to_literal(values[0] if values else default.strip().strip("'"))""",
            """pattern += to_literal(values[ -1] if values else default.strip().strip("'"))""",
            "there is one value at most",
        ),
        (
            "if openings and found.decision is Decision.YES:",
            "if openings and found.decision >= Decision.YES:",
            "yes is the greatest",
        ),
        (
            "if decision is Decision.YES:",
            "if decision > Decision.YES:",
            "yes is the greatest, so no later answer replaces the first yes; the search only takes longer",
        ),
        (
            'lacking = ARN_SEPARATORS - text.count(":") if text.startswith("arn:") else 0',
            'lacking = ARN_SEPARATORS - text.count(":") if text.startswith("arn:") else -1',
            "it is only asked whether it is more than 0",
        ),
    ],
    "module_utils/_servers/admin_profile_plan.py": [
        (
            """return replace(step, retry_when=step.retry_when | {"IncorrectState"}, context=context)""",
            """return replace(step, retry_when=step.retry_when ^ {"IncorrectState"}, context=context)""",
            "it is not one of them before",
        ),
    ],
    "module_utils/_principals/window_plan.py": [
        (
            "earliest = new_deadline - min(TOLERANCE, length / 2)",
            "earliest = new_deadline - min(TOLERANCE, length // 2)",
            "half of whole minutes is a whole number of microseconds",
        ),
    ],
    "module_utils/_configuration/parameter_plan.py": [
        (
            "current_size = len(current.value.encode()) if current else 0",
            "current_size = len(current.value.encode()) if current else 1",
            "no configuration is smaller",
        ),
        (
            "if (found.version or 0) >= (written.version or 0):",
            "if (found.version or 0) >= (written.version or -1):",
            "what was written has a version, which is not 0",
        ),
    ],
    "module_utils/_configuration/problems.py": [
        (
            'return folded[found[0]] if found else ""',
            'return folded[found[ -1]] if found else ""',
            "there is one at most",
        ),
        (
            "shown = repr(text[: length + 1])",
            "shown = repr(text[: length ^ 1])",
            "the lengths are even",
        ),
        (
            "found = get_close_matches(_fold(name[:MAX_KEY]), folded, n=1, cutoff=_NEAR)",
            "found = get_close_matches(_fold(name[:MAX_KEY]), folded, n= 2, cutoff=_NEAR)",
            "only the first is used",
        ),
    ],
    "module_utils/_configuration/parts.py": [
        (
            "return (bool, value) if isinstance(value, bool) else value",
            "return (bool, value) if not isinstance(value, bool) else value",
            "booleans differ from all others, whichever of them are marked",
        ),
        (
            "return [each for each in _members(piece) if each.keys[-1] not in GLOBAL_SECTIONS] or _members(piece)",
            "return [each for each in _members(piece) if each.keys[not 1] not in GLOBAL_SECTIONS] or _members(piece)",
            "a member of the root has one key",
        ),
    ],
    "module_utils/_configuration/validate.py": [
        (
            "return sorted(problems, key=lambda each: (each.line or 0, each.column or 0))",
            "return sorted(problems, key=lambda each: (each.line or 1, each.column or 0))",
            "what has a line has a column, and both begin with 1",
        ),
        (
            "return sorted(problems, key=lambda each: (each.line or 0, each.column or 0))",
            "return sorted(problems, key=lambda each: (each.line or 0, each.column or -1))",
            "what has a line has a column",
        ),
    ],
    "module_utils/_principals/policies.py": [
        (
            "frozenset(aws_policy_arn(name, partition) for name in managed - attached),",
            "frozenset(aws_policy_arn(name, partition) for name in managed ^ attached),",
            "what is attached is managed",
        ),
    ],
    "module_utils/_principals/user_plan.py": [
        (
            "_remove_from_group(current.name, group) for group in sorted(current.user.groups - planned.user.groups)",
            "_remove_from_group(current.name, group) for group in sorted(current.user.groups ^ planned.user.groups)",
            "a user is never added to a group",
        ),
    ],
    "module_utils/_agents/server.py": [
        (
            "watch_seconds: int = 0",
            "watch_seconds: int = 1",
            "it always has another value",
        ),
    ],
    "module_utils/_agents/permission_checks.py": [
        (
            "denied = [each for each, decision in decisions.items() if decision is Decision.NO]",
            "denied = [each for each, decision in decisions.items() if decision <= Decision.NO]",
            "no is the least",
        ),
    ],
    "module_utils/_agents/verify_report.py": [
        (
            "_NAME_WIDTH = WIDTH - sum(len(each) + 2 for each in HEADINGS)",
            "_NAME_WIDTH = WIDTH % sum(len(each) + 2 for each in HEADINGS)",
            "the headings take more than half of the width and less than all of it",
        ),
    ],
    "plugin_utils/_run/accounts.py": [
        (
            "SESSION_SECONDS = range(900, 43200 + 1)",
            "SESSION_SECONDS = range(900, 43200 ^ 1)",
            "43200 is even",
        ),
    ],
}
