"""Writes what is declared in another place. ``make tables`` runs it.

From ``roles.yml`` and the documentation of the modules come the argument specs of the roles, and from these their
defaults. From ``variables.yml`` and the specs of the roles come the argument specs of the playbooks, and the lines of
``playbooks/vars`` that hand on their variables. From ``surveys.yml`` and these specs come the surveys of AWX. From the
rules of findings come their lists in the documentation of modules, and from the key stores come their names.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import KEY_STORES
from ansible_collections.cwagent.iam.plugins.plugin_utils._settings import shared_setting

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "roles"
VARIABLES = ROOT / "playbooks" / "vars"
PLAYBOOKS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("variables.yml").read_text(encoding="utf-8"))
SURVEYS = Path(__file__).with_name("surveys.yml")
QUESTIONS = ROOT / "examples" / "awx-project" / "awx" / "questions.yml"
SOURCE: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("roles.yml").read_text(encoding="utf-8"))
DOCUMENTED = [path for folder in ("modules", "doc_fragments") for path in (ROOT / "plugins" / folder).glob("*.py")]
# By module, the file with the rules of its findings.
RULES = {
    "cwagent_access_info": "_access.findings",
    "cwagent_config_parameter": "_config_parameter.rules",
    "cwagent_server_info": "_verify.model",
}
OURS = "cwagent.iam."
PLUGINS = f"ansible_collections.{OURS}plugins"
MADE = "# Written by `make tables` from docs/site/roles.yml, the documentation of the modules and README.md.\n"
MADE_DEFAULTS = "# Written by `make tables` from docs/site/roles.yml and the documentation of the modules.\n"
MADE_LINES = "# The lines below are written by `make tables`.\n"
MADE_SPEC = """# Written by `make tables` from docs/site/variables.yml and the argument specs of the roles.
# The variables of the playbooks, by subject, in the format of a role's argument specs. The playbooks check their input
# against this file. The key `accepts_single` is not Ansible's. A list with it can be given as one item, or as text with
# commas between the items, such as with `-e`.
---
argument_specs:"""
MADE_QUESTIONS = """# Written by `make tables` from docs/site/surveys.yml and playbooks/vars/argument_specs.yml.
# Every question can be left blank. Then the value of the inventory or of awx_settings counts, or else the default of
# the playbook. Schedules and workflows need no answers. min: 1 keeps AWX from passing a blank text, which would count.
---
questions:"""
QUESTION_TYPES = {"str": "text", "list": "text", "int": "integer"}
TEXT_LIMITS = {"min": 1, "max": 1024}
STORES = "[file, "
KINDS = ("type", "elements", "choices", "required", "default")
WIDTH = 120


def files() -> dict[Path, str]:
    """Return the text of each file that is written."""
    specs = {role: spec_text(role) for role in SOURCE["roles"]}
    variables = {role: options_of(text) for role, text in specs.items()}
    of_playbooks = options_of_playbooks()
    return {
        **{ROLES / role / "meta" / "argument_specs.yml": text for role, text in specs.items()},
        **{
            ROLES / role / "defaults" / "main.yml": defaults(role, options["main"])
            for role, options in variables.items()
        },
        **{
            VARIABLES / name: with_lines(VARIABLES / name, {role: variables[role] for role in roles})
            for name, roles in SOURCE["playbooks"].items()
        },
        VARIABLES / "argument_specs.yml": playbooks_text(of_playbooks),
        QUESTIONS: questions(of_playbooks),
        **{
            path: with_rules(path.stem, with_stores(text))
            for path in DOCUMENTED
            if STORES in (text := path.read_text(encoding="utf-8")) or path.stem in RULES
        },
    }


@cache
def options_of(text: str) -> dict[str, dict[str, Any]]:
    """Return the variables of a role by entry point."""
    return {entry: spec["options"] for entry, spec in yaml.safe_load(text)["argument_specs"].items()}


@cache
def options_of_playbooks() -> dict[str, Any]:
    """Return the variables of the playbooks. A variable that reaches a role has its type, choices and default there.

    The playbooks take no empty value, so they have no empty choice and no empty default.
    """
    own = {name: option for subject in PLAYBOOKS.values() for name, option in subject["options"].items()}
    found: dict[str, dict[str, Any]] = {}
    for role in SOURCE["roles"]:
        for variable, option in options_of(spec_text(role))["main"].items():
            found.setdefault(name_in_playbooks(role, variable), option)
    options = {name: {**without_empty(found.get(name, {})), **option} for name, option in own.items()}
    words = re.sub(r"[CV]\((.+?)\)", r"`\1`", stores_in_words())
    return {
        name: {**option, "description": option["description"].replace("{key_stores}", words)}
        for name, option in options.items()
    }


def without_empty(option: Mapping[str, Any]) -> dict[str, Any]:
    """Return the type, choices and default of a variable, without empty ones."""
    found = {kind: option[kind] for kind in ("type", "elements", "choices", "default") if kind in option}
    if "choices" in found:
        found["choices"] = [choice for choice in found["choices"] if choice != ""]
    return {kind: value for kind, value in found.items() if value not in ("", {}, [])}


def playbooks_text(options: Mapping[str, Any]) -> str:
    """Return the argument specs of the playbooks."""
    lines = [MADE_SPEC]
    for subject, source in PLAYBOOKS.items():
        lines += [f"  {subject}:", f"    short_description: {source['short_description']}", "    options:"]
        for name in source["options"]:
            lines += [f"      {name}:", *playbook_option_lines(options[name], 8)]
    return "\n".join(lines) + "\n"


def playbook_option_lines(option: Mapping[str, Any], indent: int) -> Iterator[str]:
    """Return the lines of a variable of the playbooks, or of a key of one."""
    pad = " " * indent
    yield from folded("description", option["description"], indent)
    kinds = (*KINDS, "accepts_single")
    yield from (f"{pad}{kind}: {inline(option[kind])}" for kind in kinds if option.get(kind) is not None)
    if "options" in option:
        yield f"{pad}options:"
        for name, each in option["options"].items():
            yield f"{pad}  {name}:"
            yield from playbook_option_lines(each, indent + 4)


@cache
def spec_text(role: str) -> str:
    """Return the argument specs of a role."""
    source = SOURCE["roles"][role]
    entries = source.get("entries", {})
    shared = {name for entry in entries.values() for name in entry["options"]}
    readme = (ROLES / role / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```yaml\n(.*?)```$", readme, re.DOTALL | re.MULTILINE)
    lines = [MADE + "---", "argument_specs:", *head("main", source)]
    lines += ["    examples: |", *textwrap.indent(example, " " * 6).splitlines(), "    options:"]
    for name, own in source["options"].items():
        lines.append(f"      {role}_{name}:" + (f" &{name}" if name in shared else ""))
        lines += option_lines(role, {**of_module(role, name), **text_of(role, name), **(own or {})}, 8)
    for entry, described_entry in entries.items():
        lines += [*head(entry, described_entry), "    options:"]
        lines += [f"      {role}_{name}: *{name}" for name in described_entry["options"]]
    return "\n".join(lines) + "\n"


def head(entry: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of an entry point before its example and options."""
    yield f"  {entry}:"
    yield from described("short_description", source["short_description"], 4)
    yield from described("description", source["description"], 4)
    yield "    author: cwagent.iam contributors"
    yield "    version_added: 1.0.0"


def text_of(role: str, name: str) -> dict[str, Any]:
    """Return the description that a variable has in several roles for principals, if there is one."""
    texts = SOURCE["texts"] if "who" in SOURCE["roles"][role] else {}
    return {"description": texts[name]} if name in texts else {}


def option_lines(role: str, option: Mapping[str, Any], indent: int) -> Iterator[str]:
    """Return the lines of a variable, or of a key of one."""
    words = {"role": role, "who": SOURCE["roles"][role].get("who"), "key_stores": stores_in_words()}
    text = option["description"]
    filled = [as_role_text(role, each).format(**words) for each in ([text] if isinstance(text, str) else text)]
    yield from described("description", filled[0] if isinstance(text, str) else filled, indent)
    pad = " " * indent
    yield from (f"{pad}{kind}: {inline(option[kind])}" for kind in KINDS if option.get(kind) is not None)
    if option.get("suboptions"):
        yield f"{pad}options:"
        for name, each in option["suboptions"].items():
            yield f"{pad}  {name}:"
            yield from option_lines(role, each, indent + 4)


def as_role_text(role: str, text: str) -> str:
    """Return the text with the variables of a role instead of the options of its modules with the same names."""
    options = SOURCE["roles"][role]["options"]
    return re.sub(r"O\((\w+)", lambda found: f"O({role}_{found[1]}" if found[1] in options else found[0], text)


def of_module(role: str, name: str) -> dict[str, Any]:
    """Return the option of this name, as a variable of the role: its description, type, choices and default.

    A variable of a role can be empty. So it has an empty default where the module has none.
    """
    source = SOURCE["roles"][role]
    options = [found[name] for module in source["modules"] if name in (found := documented_options(module))]
    if not options:
        return {}
    # Whether a variable is required is a matter of the role, whose default can fill an option that the module requires.
    kinds = ("description", "suboptions", *KINDS)
    found = {kind: options[0][kind] for kind in kinds if kind in options[0] and kind != "required"}
    if "default" not in found and found["type"] in ("str", "dict", "path"):
        found["default"] = {} if found["type"] == "dict" else ""
        found.update({"choices": ["", *found["choices"]]} if "choices" in found else {})
    return found


@cache
def documented_options(module: str) -> dict[str, Any]:
    """Return the options and suboptions of a module. The options of its fragments and the region count."""
    documentation = yaml.safe_load(with_stores(import_module(f"{PLUGINS}.modules.{module}").DOCUMENTATION))
    fragments = [
        import_module(f"{PLUGINS}.doc_fragments.{name.removeprefix(OURS)}").ModuleDocFragment
        for name in documentation["extends_documentation_fragment"]
        if name.startswith(OURS) and "." not in name.removeprefix(OURS)
    ]
    options = {"region": {"type": "str"}}
    for text in (each.DOCUMENTATION for each in fragments if hasattr(each, "DOCUMENTATION")):
        options.update(yaml.safe_load(with_stores(text)).get("options", {}))
    options.update(documentation["options"])
    suboptions = [each["suboptions"] for each in options.values() if "suboptions" in each]
    return {**{name: each for found in suboptions for name, each in found.items()}, **options}


def defaults(role: str, options: Mapping[str, Any]) -> str:
    """Return the defaults of a role, without those of the settings that only modules read."""
    lines = []
    for name, option in options.items():
        value, setting = SOURCE["templates"].get(name, option.get("default")), shared_setting(role, name)
        if setting and name not in SOURCE["templates"]:
            if not is_read_by_tasks(role, name) or (value is None and option["type"] != "str"):
                continue
            # A blank setting counts as no setting, but false does not.
            blank = "" if isinstance(value, bool) else ", true"
            value = f"{{{{ {setting} | default({as_jinja(value)}{blank}) }}}}"
        lines += [] if value is None else [f"{name}: {inline(value)}"]
    return "\n".join([MADE_DEFAULTS + "---", *lines]) + "\n"


def as_jinja(value: Any) -> str:
    """Return a default as an expression of Jinja."""
    return str(value).lower() if isinstance(value, bool) else repr("" if value is None else value)


def with_lines(path: Path, roles: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a file of variables with the lines that hand settings on to the YAML of the roles."""
    by_hand = path.read_text(encoding="utf-8").partition(MADE_LINES)[0].rstrip()
    taken, lines = yaml.safe_load(by_hand), []
    for role, entries in roles.items():
        names = dict.fromkeys(name for options in entries.values() for name in options if name not in taken)
        settings = {name: shared_setting(role, name) for name in names if is_read_by_tasks(role, name)}
        made = [
            f'{name}: "{{{{ __cwagent.{each.removeprefix("cwagent_")} }}}}"' for name, each in settings.items() if each
        ]
        lines += ["", *made] if made else []
    return "\n".join([by_hand, *(["", MADE_LINES.rstrip(), *lines] if lines else [])]) + "\n"


def name_in_playbooks(role: str, variable: str) -> str:
    """Return the name for the playbooks of a variable of a role, which can have the meaning of a setting it ignores."""
    return shared_setting(role, variable) or f"cwagent_{variable.removeprefix(f'{role}_')}"


def is_read_by_tasks(role: str, variable: str) -> bool:
    """Return whether the YAML of a role reads a variable, which a setting alone would leave undefined."""
    paths = [path for folder in ("tasks", "vars", "templates") for path in (ROLES / role / folder).glob("*")]
    return any(re.search(rf"(?<![.\w]){variable}\b", path.read_text(encoding="utf-8")) for path in paths)


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
