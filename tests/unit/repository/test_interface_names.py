"""One word has one meaning, and one thing has one name, in playbooks, roles and plugins.

The glossary has a table of the words. Names and choices consist of these and of words with their everyday meaning.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from jinja2 import Environment, nodes

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import shared_options

ROOT = Path(__file__).resolve().parents[3]
GLOSSARY = ROOT / "docs" / "docsite" / "rst" / "glossary.rst"
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
SPECS = {
    "cwagent": "playbooks/vars/argument_specs.yml",
    **{role: f"roles/{role}/meta/argument_specs.yml" for role in ROLES},
}
"""By the prefix of the variables."""
PLUGINS = [
    path
    for kind in ("doc_fragments", "inventory", "lookup", "modules")
    for path in sorted((ROOT / "plugins" / kind).glob("*.py"))
]
jinja = Environment(autoescape=True)

pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in regular expressions of templates


class Option(NamedTuple):
    """A variable or an option. :param name: of a variable, without the prefix."""

    where: str
    name: str
    spec: dict[str, Any]


def options_in(where: str, options: dict[str, Any], prefix: str = "") -> Iterator[Option]:
    """All options and their suboptions."""
    for name, spec in options.items():
        yield Option(where, name.removeprefix(prefix), spec)
        yield from options_in(f"{where}: {name}", spec.get("options") or spec.get("suboptions") or {})


def specs(prefix: str) -> dict[str, Any]:
    """By entry point."""
    found: dict[str, Any] = yaml.safe_load((ROOT / SPECS[prefix]).read_text())["argument_specs"]
    if prefix in ROLES:
        found["main"]["options"] = {**found["main"]["options"], **shared_options(ROOT / "roles" / prefix)}
    return found


def documented(path: Path) -> Iterator[dict[str, Any]]:
    """The options of a plugin, or of the parts of a fragment."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            is_documentation = path.parent.name == "doc_fragments" or ast.unparse(node.targets[0]) == "DOCUMENTATION"
            if is_documentation and isinstance(node.value.value, str):
                yield yaml.safe_load(node.value.value).get("options") or {}


OPTIONS = [
    *(
        option
        for prefix in SPECS
        for entry in specs(prefix).values()
        for option in options_in(prefix, entry["options"], f"{prefix}_")
    ),
    *(option for path in PLUGINS for found in documented(path) for option in options_in(path.stem, found)),
]
NAMES = {option.name.removeprefix("_") for option in OPTIONS}
# To store is to write the configuration; where keys are saved is always a key_store.
ENTRY_POINTS = {entry for role in ROLES for entry in specs(role)} - {"store"}
# Choices in capitals are values of AWS. A module is known by its name.
CHOICES = {
    choice
    for option in OPTIONS
    for choice in option.spec.get("choices", ())
    if isinstance(choice, str) and choice.islower() and not choice.startswith("cwagent_")
}


# -- Words --


def table() -> list[list[str]]:
    """The rows of the glossary's table: words, their meaning, and words that are not used for it."""
    text = GLOSSARY.read_text().split(".. list-table:: Words in names", 1)[1].split("\n\n", 2)[1]
    rows = [re.split(r"\n {5}-(?: |(?=\n|$))", row) for row in re.split(r"(?:^|\n) {3}\* - ", text)]
    return [[" ".join(cell.split()) for cell in row] for row in rows if row != [""]][1:]


def words_in(cell: str) -> set[str]:
    return set(re.findall(r"``(\w+)``", cell))


WORDS = {word for row in table() for word in words_in(row[0])}
EVERYDAY = set(
    re.findall(
        r"\w+",
        """
        absent ansible application at auto aws bundle by ca certs check checked close closed compare compared
        content controller create data default delete description detach digest duration earlier elsewhere endpoint
        endpoints entry_point error expected fail file files filters find found from group has history host
        hostname hosts id ids if ignored info inventory keep label lines main max missing mode module name names
        narrow none
        notice off on one only open opened optional options other owner part parts path per permission present
        problems read recent remaining remove replace report required requires restore results shared skip
        state states stop stored stores strict terms to unused url use validated values version warn warning
        number rename retry
        """,
    )
)
"""Words of English and Ansible with their everyday meaning."""
NAME = re.compile("({0})(_({0}))*".format("|".join(sorted(WORDS | EVERYDAY))))


def test_the_table_is_read() -> None:
    assert {"key", "key_store", "run_command"} <= WORDS
    assert len(OPTIONS) > 250
    assert {"run_command", "parameter_store"} <= CHOICES


def test_each_word_of_the_table_is_there_once_with_a_meaning() -> None:
    listed = [word for row in table() for word in sorted(words_in(row[0]))]
    assert [word for word in listed if listed.count(word) > 1] == []
    assert [row for row in table() if len(row) != 3 or not row[1].endswith(".")] == []
    assert not WORDS & EVERYDAY


@pytest.mark.parametrize("kind", [NAMES, ENTRY_POINTS, CHOICES], ids=["names", "entry points", "choices"])
def test_names_consist_of_defined_words(kind: set[str]) -> None:
    assert sorted(name for name in kind if not NAME.fullmatch(name)) == []


def test_names_never_contain_words_that_would_be_second_names() -> None:
    others = {word for row in table() for word in words_in(row[2])}
    assert {"credentials", "look", "ssm"} <= others
    assert sorted(word for word in others if NAME.fullmatch(word)) == []


def kind_of(spec: dict[str, Any]) -> str:
    """The type of an option with its choices; a path counts as text, and a blank as no choice."""
    kind = str(spec.get("type", "str"))
    return " ".join(
        ["str" if kind == "path" else kind, *sorted(str(choice) for choice in spec.get("choices", ()) if choice)]
    )


def test_an_option_of_one_name_has_one_type_and_one_set_of_choices() -> None:
    kinds: dict[str, set[str]] = {}
    for option in OPTIONS:
        if option.spec.get("type") != "raw":  # several types, of which the others have one
            kinds.setdefault(option.name, set()).add(kind_of(option.spec))
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {
        name: found for listed in SEVERAL_KINDS.values() for name, found in listed.items()
    }


SEVERAL_KINDS = {
    "a module can manage several users at once, and one of everything else": {"name": {"str", "list"}},
    "things have different states": {
        "state": {
            "str absent present",
            "str compared fitted opened stored validated",
            "str absent closed open",
            "str absent present tagged validated",
            "str deregistered registered",
            "str deregistered deregistering finished read registered restarted",
            "str absent present retired",
            "str checked restored",
        }
    },
    "the configuration is stored from one place, and the facts are collected from another": {
        "from": {
            "str auto controller instance onprem run_command",
            "str ansible auto none run_command",
        }
    },
    "a role keeps the profile unless told otherwise, and a module used directly can fail instead": {
        "on_other_profile": {"str attach keep replace", "str attach fail keep replace"}
    },
}
"""By reason, the names whose type or choices differ, with all of these."""


# -- Saved keys --

KEY_DEFAULTS = {
    "key_store": "file",
    "key_store_directory": "~/.cwagent/credentials",
    "key_store_prefix": "/cwagent/credentials/",
    "key_store_kms_key_id": None,
    "key_store_allow_ephemeral": False,
    "credentials_profile": "AmazonCloudWatchAgent",
    "evict_unmanaged_key": False,
}
PLACE = {"key_store", "key_store_directory", "key_store_prefix"}
PROFILE = {"credentials_profile"}
FILE = {*PLACE, *PROFILE}
WRITER = {*PLACE, "key_store_kms_key_id", "key_store_allow_ephemeral", "evict_unmanaged_key"}
USERS = {
    **dict.fromkeys(("cwagent", "onprem_server", "onprem_admin"), WRITER),
    **dict.fromkeys(("onprem_credentials", "store_config"), FILE),
    "verify": PLACE,
    "audit": {"key_store_prefix"},  # it reads several stores, and no file
    "cwagent_iam_user: saved_key": {*WRITER, *FILE},
    # The fragment saved_key has the place of these.
    **dict.fromkeys(
        ("cwagent_store_config", "cwagent_store_host", "cwagent_credentials_file", "saved_credentials"), PROFILE
    ),
    **dict.fromkeys(("cwagent_restore", "saved_key"), PLACE),
    "cwagent_access_info": {"key_store_prefix"},
}
"""The options about saved keys of each place that has some."""
OTHER_DEFAULTS = {
    ("cwagent_iam_user: saved_key", "key_store_directory"): None,  # nothing is written unless it is named
    ("cwagent_restore", "key_store_directory"): None,  # without it, files are not looked for
    **{(role, "key_store_kms_key_id"): "" for role in ("onprem_server", "onprem_admin")},
}


def test_the_options_about_saved_keys_are_in_all_places_with_one_default() -> None:
    found: dict[str, dict[str, Any]] = {}
    for option in OPTIONS:
        if option.name in KEY_DEFAULTS:
            found.setdefault(option.where, {})[option.name] = option.spec.get("default")
    assert found == {
        place: {name: OTHER_DEFAULTS.get((place, name), KEY_DEFAULTS[name]) for name in names}
        for place, names in USERS.items()
    }


# -- Values that are handed on --


class Handed(NamedTuple):
    """A value that is handed on as it is. Both names are in all forms that count as the same name."""

    target: str
    source: str
    targets: frozenset[str]
    sources: frozenset[str]


def tails(name: str, least: str) -> frozenset[str]:
    """The ends of a name that begin with a word, down to the least one."""
    parts = name.split("_")
    ends = ("_".join(parts[index:]) for index in range(len(parts)))
    return frozenset(end for end in ends if len(end) >= len(least))


def forms_of_variable(name: str) -> frozenset[str]:
    """A variable of a role, with the end of its prefix or without: ``ec2_admin_window`` is ``admin_window``."""
    return next(
        (tails(name, name.removeprefix(f"{role}_")) for role in ROLES if name.startswith(f"{role}_")), frozenset()
    )


def inner(node: nodes.Node) -> nodes.Node | None:
    """The node that an expression converts, gives a default, takes a part of, or hands on only sometimes, if any."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "values":
        return node.node.node
    if not isinstance(node, nodes.Filter):
        return None
    if node.name == "ternary":
        used = [each for each in node.args if not (isinstance(each, nodes.Name) and each.name == "omit")]
        return used[0] if len(used) == 1 else None
    return node.node if node.name in ("default", "bool", "int", "flatten", "first") else None


def source_of(node: nodes.Node) -> tuple[str, frozenset[str]] | None:
    """The variable that an expression hands on."""
    while (found := inner(node)) is not None:
        node = found
    attributes: list[str] = []
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        if isinstance(node, nodes.Getattr):
            attributes.insert(0, node.attr)
        node = node.node
    if not isinstance(node, nodes.Name):
        return None
    if node.name == "__cwagent" and attributes:
        return "_".join(attributes), tails("_".join(attributes), attributes[-1])
    forms = forms_of_variable(node.name)
    return (node.name, forms) if forms and not attributes else None


def expression(template: Any) -> nodes.Node | None:
    """The expression in a text that contains nothing else."""
    if not isinstance(template, str) or not re.fullmatch(r"\s*\{\{.*\}\}\s*", template, re.DOTALL):
        return None
    [output] = jinja.parse(template.strip()).body
    parts = output.nodes if isinstance(output, nodes.Output) else []
    return parts[0] if len(parts) == 1 else None


def pairs_in_templates(content: Any) -> Iterator[tuple[str, nodes.Node]]:
    """The options and their values in the mappings of templates, at any depth."""
    if isinstance(content, (dict, list)):
        for each in content.values() if isinstance(content, dict) else content:
            yield from pairs_in_templates(each)
    elif isinstance(content, str):
        for pair in jinja.parse(content).find_all(nodes.Pair):
            if isinstance(pair.key, nodes.Const) and pair.key.value in NAMES:
                yield str(pair.key.value), pair.value


def pairs(content: Any) -> Iterator[tuple[str, nodes.Node]]:
    """The names and expressions in a mapping of values, at any depth."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            yield from pairs(value)
        elif (found := expression(value)) is not None:
            yield name, found


def sections(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The variables and the options of our modules in plays and tasks, at any depth."""
    if isinstance(content, list):
        for each in content:
            yield from sections(each)
    elif isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, dict) and (key == "vars" or key.startswith("cwagent.iam.")):
                yield key.removeprefix("cwagent.iam."), value
            elif key in ("tasks", "block", "rescue", "always", "module_defaults"):
                yield from sections(value)


def handed_on() -> Iterator[Handed]:
    """All values that playbooks hand to roles, and that both hand to our modules."""
    found: list[tuple[str, str, nodes.Node]] = []
    for path in sorted(
        [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/vars/*.yml")]
    ):
        if path.name == "argument_specs.yml":
            continue
        content = yaml.safe_load(path.read_text())
        for section, values in [("vars", content)] if isinstance(content, dict) else sections(content):
            found += [(section, *pair) for pair in pairs(values)]
        found += [("options", *pair) for pair in pairs_in_templates(content)]
    for section, name, node in found:
        source = source_of(node)
        forms = forms_of_variable(name) or frozenset({name})
        if source and not name.startswith("__"):
            target = name if section == "vars" else f"{section}.{name}"
            yield Handed(target, source[0], forms, source[1])


SECOND_NAMES = {
    "a module or role that manages a thing calls it name, and others add the kind of thing": {
        "cwagent_admin_window.role < ec2_admin_name",
        "cwagent_restore.admin_role_name < ec2_admin_name",
        "cwagent_restore.server_profile < ec2_server_name",
        "ec2_admin_name < admin_role_name",
        "ec2_server_name < server_role_name",
        "hybrid_server_name < hybrid_role_name",
    },
    "a name for any role, profile, user or parameter leaves out which one it is": {
        "cwagent_iam_user.users_by_region < retired_users",
        "hybrid_registration_role < hybrid_role_name",
    },
    "the name of the module or role already shows which file or window it is": {
        "cwagent_credentials_file.path < onprem_credentials_file",
    },
    "the name of the role already shows whose region and name they are": {
        "onprem_credentials_region < onprem_hosts_key_region",
        "onprem_credentials_user_name < onprem_hosts_user",
    },
    "a task works on a selection of the run's values": {
        "cwagent_hybrid_nodes.nodes_by_region < key_names",
        "cwagent_hybrid_nodes.nodes_by_region < leaving_nodes",
        "cwagent_restore.expected_instance_ids < instances",
        "cwagent_restore.saved_users < users",
        "cwagent_restore.close_role_window < has_instances",
        "cwagent_restore.users_to_delete < removal_users",
        "audit_configs_by_region < config_names",
    },
    "a task finds what the run leaves to the account": {"cwagent_restore.find_server_policy < account_decides_policy"},
}
"""The values that YAML gives another name on their way, by reason. The settings with another name are RENAMED."""


def test_values_keep_their_names_when_they_are_handed_on() -> None:
    renamed = {f"{each.target} < {each.source}" for each in handed_on() if not each.targets & each.sources}
    assert renamed == {pair for listed in SECOND_NAMES.values() for pair in listed}


def test_playbooks_set_only_variables_that_the_roles_have() -> None:
    known = {name for role in ROLES for entry in specs(role).values() for name in entry["options"]}
    names = set()
    for path in ROOT.glob("playbooks/**/*.yml"):
        content = yaml.safe_load(path.read_text())
        names |= set(content) if path.parent.name == "vars" else set()
        names |= {name for section, values in sections(content) if section == "vars" for name in values}
    assert (
        sorted(name for name in names if name.startswith(tuple(f"{role}_" for role in ROLES)) and name not in known)
        == []
    )


# -- References in documentation --

REFERENCE = re.compile(r"\bO\((?:cwagent\.iam\.(\w+)#\w+:(?:main:)?)?([\w.\[\]]+)(?:=[^)]*)?\)")


def sources(path: Path) -> list[Path]:
    """The files with the options of a plugin: its own file, and the files of its fragments."""
    [documentation] = re.findall(r"^DOCUMENTATION = r?\"{3}(.*?)\"{3}", path.read_text(), re.MULTILINE | re.DOTALL)
    names = [name.split(".") for name in yaml.safe_load(documentation).get("extends_documentation_fragment", ())]
    modules = [
        f"ansible_collections.{'.'.join(name[:2])}.plugins.doc_fragments.{name[2]}"
        if len(name) > 1
        else f"ansible.plugins.doc_fragments.{name[0]}"
        for name in names
    ]
    specs_of_modules = [importlib.util.find_spec(module) for module in modules]
    return [path, *(Path(str(spec.origin)) for spec in specs_of_modules if spec)]


def paths_of(options: dict[str, Any]) -> Iterator[str]:
    """The names of options, and of suboptions with dots."""
    for name, spec in options.items():
        yield name
        yield from (f"{name}.{each}" for each in paths_of(spec.get("options") or spec.get("suboptions") or {}))


SOURCES = {path.stem: sources(path) for path in PLUGINS if path.parent.name != "doc_fragments"}
KNOWN = {
    **{role: {name for entry in specs(role).values() for name in paths_of(entry["options"])} for role in ROLES},
    **{
        plugin: {name for path in paths for found in documented(path) for name in paths_of(found)}
        for plugin, paths in SOURCES.items()
    },
}
# References in a fragment of ours are about each plugin that uses it.
DOCUMENTED = {
    **{role: (ROOT / SPECS[role]).read_text() for role in ROLES},
    **{
        plugin: "".join(path.read_text() for path in paths if path.resolve().is_relative_to(ROOT / "plugins"))
        for plugin, paths in SOURCES.items()
    },
}


@pytest.mark.parametrize("place", sorted(DOCUMENTED))
def test_references_to_options_name_options_that_exist(place: str) -> None:
    references = {(other or place, name.replace("[]", "")) for other, name in REFERENCE.findall(DOCUMENTED[place])}
    assert sorted(each for each in references if each[1] not in KNOWN[each[0]]) == []


def test_references_to_options_are_found() -> None:
    found = {name for text in DOCUMENTED.values() for _other, name in REFERENCE.findall(text)}
    assert {"saved_key.key_store", "servers[].user", "ec2_admin_ssm_policy"} <= found
    assert "\n  permissions_boundary:\n" in DOCUMENTED["cwagent_iam_user"], "it is in a fragment"


# -- Pages and messages --

GIVEN = re.compile(r"\b(cwagent_\w+)(?:=|: (?=\S+$)|`` to ``| to (?!another\b))[\"']?(\w+)", re.MULTILINE)
"""A variable with a value, as on a command line, in an inventory, on a page or in a message."""


def test_pages_and_messages_name_only_choices_that_exist() -> None:
    choices = {
        f"cwagent_{each.name}": each.spec["choices"]
        for each in OPTIONS
        if each.where == "cwagent" and "choices" in each.spec
    }
    folders = ("docs", "examples", "extensions", "playbooks", "plugins", "roles")
    given = {
        (name, value)
        for path in [ROOT / "README.md", *(path for each in folders for path in (ROOT / each).rglob("*"))]
        if path.suffix in (".md", ".py", ".rst", ".yml", ".j2")
        for name, value in GIVEN.findall(path.read_text())
        if name in choices
    }
    assert ("cwagent_confirm", "teardown") in given
    # One page shows the message for a wrong choice.
    wrong = {("cwagent_onprem_users", "each")}
    assert {(name, value) for name, value in given if value not in choices[name]} == wrong
