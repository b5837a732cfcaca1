"""Writes what is declared in another place. ``make tables`` runs it.

From the argument specs of the playbooks come the settings in those of the roles and, with ``surveys.yml``, the surveys
of AWX. From the rules of findings come their lists in the documentation of modules, and from the key stores come their
names.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import KEY_STORES
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import shared_options, shared_setting

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "playbooks" / "vars" / "argument_specs.yml"
SURVEYS = Path(__file__).with_name("surveys.yml")
QUESTIONS = ROOT / "examples" / "awx-project" / "awx" / "questions.yml"
DOCUMENTED = [path for folder in ("modules", "doc_fragments") for path in (ROOT / "plugins" / folder).glob("*.py")]
# By module, the file with the rules of its findings.
RULES = {
    "cwagent_access_info": "_accounts.audit_result",
    "cwagent_config_parameter": "_configuration.problems",
    "cwagent_server_info": "_agents.server",
}
PLUGINS = "ansible_collections.cwagent.iam.plugins"
MADE_QUESTIONS = """# Written by `make tables` from docs/tables/surveys.yml and playbooks/vars/argument_specs.yml.
# Every question can be left blank. Then the value of the inventory or of awx_settings counts, or else the default of
# the playbook. Schedules and workflows need no answers. min: 1 keeps AWX from passing a blank text, which would count.
---
questions:"""
QUESTION_TYPES = {"str": "text", "list": "text", "int": "integer"}
TEXT_LIMITS = {"min": 1, "max": 1024}
MADE_SETTINGS = "      # `make tables` writes the lines below, for the settings of the playbooks.\n"
STORES = "[file, "
WIDTH = 120


def files() -> dict[Path, str]:
    """Return the text of each file that is written."""
    return {
        SPEC: with_stores(SPEC.read_text(encoding="utf-8")),
        QUESTIONS: questions(options_of_playbooks()),
        **{path: with_settings(path) for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")},
        **{
            path: with_rules(path.stem, with_stores(text))
            for path in DOCUMENTED
            if STORES in (text := path.read_text(encoding="utf-8")) or path.stem in RULES
        },
    }


def options_of_playbooks() -> dict[str, Any]:
    """Return the variables of the playbooks."""
    subjects = yaml.safe_load(with_stores(SPEC.read_text(encoding="utf-8")))["argument_specs"].values()
    return {name: option for subject in subjects for name, option in subject["options"].items()}


def with_settings(path: Path) -> str:
    """Return the argument specs of a role with its variables that are only settings, at the end of its main options."""
    role, text = path.parents[1], path.read_text(encoding="utf-8")
    text = re.sub(rf"^{re.escape(MADE_SETTINGS)}(?: {{6}}.*\n)*", "", text, flags=re.MULTILINE)
    lines = []
    for name, option in shared_options(role).items():
        setting = shared_setting(role.name, name)
        lines += [f"      {name}:", f"        description: The setting C({setting}) for this role alone."]
        lines += [f"        {key}: {inline(option[key])}" for key in ("type", "elements", "choices") if key in option]
    made = "".join(f"{line}\n" for line in lines)
    end = re.search(r"^  (?!main:)\w+:$", text, re.MULTILINE)
    at = end.start() if end else len(text)
    return text[:at] + (MADE_SETTINGS + made if made else "") + text[at:]


def questions(options: Mapping[str, Any]) -> str:
    """Return the questions of the surveys. :param options: the variables of the playbooks."""
    asked = yaml.safe_load(SURVEYS.read_text(encoding="utf-8"))
    lines = [line for name, each in asked.items() for line in question_lines(name, each, options[each["variable"]])]
    return "\n".join([MADE_QUESTIONS, *lines]) + "\n"


def question_lines(name: str, asked: Mapping[str, Any], option: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of a question. :param option: the variable that the answer sets."""
    choices = asked.get("choices") or option.get("choices") or (["false", "true"] if option["type"] == "bool" else None)
    answer = "multiplechoice" if choices else QUESTION_TYPES[option["type"]]
    given = {"question_name": asked["name"], "variable": asked["variable"], "type": answer}
    found = {"required": False, "default": "", "choices": choices, **(TEXT_LIMITS if answer == "text" else {})}
    found.update({limit: asked[limit] for limit in TEXT_LIMITS if limit in asked})
    yield f"  {name}:"
    yield from folded("question_description", asked["description"], 4)
    yield from (f"    {key}: {inline(each)}" for key, each in {**given, **found}.items() if each is not None)


def with_rules(module: str, text: str) -> str:
    """Return the documentation of a module with the list of the rules of its findings."""
    found: dict[str, list[str]] = {}
    for rule in import_module(f"{PLUGINS}.module_utils.{RULES[module]}").RULES if module in RULES else ():
        kind = f"{'' if rule.listed else 'unlisted '}{'lenient ' if rule.is_lenient else ''}"
        words = f"V({rule.name}) ({kind}{' or '.join(rule.severities)}, {rule.meaning})"
        found.setdefault(rule.about, []).append(words)
    subjects = [f"Rules about the {about} are {', '.join(rules)}." for about, rules in found.items()]
    return with_items(text, "Rules about the ", subjects)


def with_stores(text: str) -> str:
    """Return the documentation of a module with the choices and words of the key stores."""
    text = re.sub(rf"{re.escape(STORES)}.*\]", inline([*KEY_STORES]), text)
    return with_items(text, "Where the access key is saved. V", [f"Where the access key is saved. {stores_in_words()}"])


def with_items(text: str, beginning: str, sentences: list[str]) -> str:
    """Return documentation with sentences instead of the items of lists that begin with some words."""

    def items(found: re.Match[str]) -> str:
        return "".join(f"{line}\n" for line in [*described("", sentences, len(found[1]) - 2)][1:])

    item = re.escape(f"- {beginning}")
    return re.sub(rf"^( +){item}.*\n(?:\1(?:  |{item}).*\n)*", items, text, flags=re.MULTILINE)


def stores_in_words() -> str:
    """Return the sentence about the key stores."""
    first, *others = KEY_STORES.values()
    return f"{', '.join([f'V({first.NAME}) is {first.WORDS}', *(f'V({each.NAME}) {each.WORDS}' for each in others)])}."


def folded(key: str, text: str, indent: int) -> Iterator[str]:
    """Return the lines of a text, which is folded if it does not fit on one line."""
    line = f"{' ' * indent}{key}: {text}"
    if len(line) <= WIDTH and ": " not in text and not text.startswith("`"):
        yield line
        return
    yield f"{' ' * indent}{key}: >-"
    lines = textwrap.wrap(text, WIDTH - indent - 2, break_long_words=False, break_on_hyphens=False)
    yield from (f"{' ' * indent}  {line}" for line in lines)


def described(key: str, text: str | list[str], indent: int) -> Iterator[str]:
    """Return the lines of a description, as a list if it does not fit on one line."""
    pad = " " * indent
    if isinstance(text, str) and len(pad) + len(key) + len(text) + 2 <= WIDTH and ": " not in text:
        yield f"{pad}{key}: {text}"
        return
    yield f"{pad}{key}:"
    for each in [text] if isinstance(text, str) else text:
        first, *more = textwrap.wrap(each, WIDTH - indent - 4, break_long_words=False, break_on_hyphens=False)
        yield f"{pad}  - {first}"
        yield from (f"{pad}    {line}" for line in more)


def inline(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and ("{{" in value or yaml.safe_load(value) != value):
        return f'"{value}"'
    return str(value)


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
