"""The files, packages and functions on the pages for contributors exist."""

from __future__ import annotations

import ast
import re

import pytest
import yaml
from guide import GUIDE, ROOT

ARCHITECTURE = GUIDE / "architecture.rst"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PLUGINS = ROOT / "plugins"
MODULE_UTILS = PLUGINS / "module_utils"
# Paths that make creates, or that have <name> instead of a name.
GENERATED = (".venv/", "build/", "<")


def quoted(page):
    """The words that a page formats as code, without blocks of code."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"``(.+?)``" if page.suffix == ".rst" else r"`([^`\n]+)`", text)


def paths(page):
    """The paths on a page: words with a slash, and names of files at the top."""
    words = [word for each in quoted(page) for word in [each.split()[-1]] if re.fullmatch(r"[\w.*/<>-]+", word)]
    return [word for word in words if ("/" in word or word.endswith(".md")) and not any(g in word for g in GENERATED)]


@pytest.mark.parametrize("page", [CONTRIBUTING, ARCHITECTURE], ids=lambda page: page.stem)
def test_every_path_exists(page):
    folders = [ROOT, MODULE_UTILS, PLUGINS / "plugin_utils", *(ROOT / "roles").iterdir()]
    assert len(paths(page)) > 10
    assert [path for path in paths(page) if not any(list(folder.glob(path)) for folder in folders)] == []


def test_the_page_shows_every_room():
    rooms = {path.parent.name for path in PLUGINS.glob("*_utils/_*/*.py")}
    assert set(re.findall(r"^   (_[a-z]+) +\w", ARCHITECTURE.read_text(), re.MULTILINE)) == rooms


def test_every_function_exists():
    named = {word.removesuffix("()").rpartition(".")[2] for word in quoted(ARCHITECTURE) if word.endswith("()")}
    trees = [ast.parse(path.read_text()) for path in PLUGINS.rglob("*.py")]
    defined = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert len(named) > 10
    assert named - defined == set()


def identifiers(path):
    """The identifiers in the code of a file, without those that are only in texts and comments."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {getattr(node, field, None) for node in nodes for field in ("id", "name", "attr")}
    return names - {None}


def python_files(text):
    """The files of plugins that a text names. The second of two files of a folder is named without the folder."""
    named = re.findall(r"``(?:plugins/)?([\w/*]+\.py)``", text)
    folders = (PLUGINS, MODULE_UTILS, PLUGINS / "plugin_utils")
    found = [path for name in named for folder in folders for path in folder.glob(name)]
    return found + [path for each in found for name in named if "/" not in name for path in each.parent.glob(name)]


TABLE = ARCHITECTURE.read_text().rpartition("Where changes belong")[2].partition("Design decisions")[0]
# A function or class with the file that has it, and each row of the table of changes.
SENTENCES = re.findall(r"``[\w.]+(?:\(\))?`` in\s+``[\w/.]+\.py``", ARCHITECTURE.read_text()) + TABLE.split("   * - ")
NAMED = [
    (name.rpartition(".")[2], files)
    for text in SENTENCES
    if (files := python_files(text))
    for name in re.findall(r"``([A-Za-z_][\w.]*)(?:\(\))?``", text)
    if name.rpartition(".")[2] not in ("py", "yml", "toml", "md", "SPEC") and not name.startswith("cwagent_")
]


@pytest.mark.parametrize(("name", "files"), NAMED, ids=[name for name, _files in NAMED])
def test_the_page_names_the_file_of_a_definition(name, files):
    assert name in set().union(*map(identifiers, files))


def test_every_constant_class_and_field_exists():
    assert len(NAMED) > 20
    known = set().union(*(identifiers(path) for path in PLUGINS.rglob("*.py")))
    form = r"[A-Z][A-Z_]{2,}|[A-Z][a-z]+[A-Z]\w+|(?:step|plan)\.\w+(?<!\.py)"
    named = {word.rpartition(".")[2] for word in quoted(ARCHITECTURE) if re.fullmatch(form, word)}
    assert named >= {"ConsistencyTimeout", "PASSING_CODES", "stale_when", "planned"}
    assert named - known - {"ANSIBLE_KEEP_REMOTE_FILES"} == set()


def steps_of(path):
    """The modules of this collection that a playbook or the tasks of a file call, in order, as the file has them."""
    playbook_or_tasks = r"import_playbook: (\S+)|\w+_tasks: (?:tasks/)?([\w/]+\.yml)"
    role_or_module = r"name: cwagent\.iam\.(\w+)\n(?:\s+tasks_from: (\w+))?|cwagent\.iam\.(cwagent_\w+):"
    pattern = f"{playbook_or_tasks}|{role_or_module}"
    for playbook, tasks, role, entry, module in re.findall(pattern, path.read_text()):
        if module:
            yield module
        elif role:
            yield from steps_of(ROOT / "roles" / role / "tasks" / f"{entry or 'main'}.yml")
        elif playbook:
            yield from steps_of(path.parent / playbook)
        else:
            beside = path.parent / tasks
            yield from steps_of(beside if beside.exists() else path.parent / "tasks" / tasks)


def test_the_walk_of_site_is_in_the_order_of_its_tasks():
    walk = re.search(r"Life of a run of site\.yml\n-+\n\n(1\. .+?)\n\n", ARCHITECTURE.read_text(), re.DOTALL)
    assert walk
    called, at = list(steps_of(ROOT / "playbooks" / "site.yml")), 0
    for name in re.findall(r"ansplugin:`cwagent\.iam\.(\w+)#module`", walk[1]):
        assert name in called[at:]
        at = called.index(name, at)
    assert set(called[at:]) == {"cwagent_report"}


def plays():
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        yield from ((path.stem, each) for each in yaml.safe_load(path.read_text()) if "hosts" in each)


def test_every_play_loads_the_inputs():
    assert [stem for stem, play in plays() if "vars/inputs.yml" not in play["vars_files"]] == []


@pytest.mark.parametrize("role", sorted((ROOT / "roles").glob("*")), ids=lambda path: path.name)
def test_every_role_begins_with_the_check_of_its_variables(role):
    checks = "cwagent_server_info" if role.name == "verify" else "cwagent_inputs"
    assert next(steps_of(role / "tasks" / "main.yml")) == checks
