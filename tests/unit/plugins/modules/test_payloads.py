"""The files that Ansible sends with a module. Ansible even sends files that only the type checker imports."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from import_graph import NAMESPACE, PLUGINS, closure, imported_modules

from ansible_collections.cwagent.iam.plugins import modules

MODULES = sorted(PLUGINS.glob("modules/*.py"))
# The modules that run on hosts, and the most bytes of our module_utils that Ansible may send there with each.
HOST_MODULES = {
    "cwagent_agent_config": 187_000,
    "cwagent_credentials_file": 220_000,
    "cwagent_shared_credentials": 184_000,
    "cwagent_ssm_agent": 74_500,
    "cwagent_store_host": 184_800,
}
UNUSED = {"cwagent_agent_config": {"gateway.py"}, "cwagent_credentials_file": {"gateway.py", "aws.py"}}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_file_is_sent_for_the_type_checker_alone(module):
    superfluous = closure(module) - closure(module, type_checking=False)
    assert {path.name for path in superfluous} == UNUSED.get(module.stem, set())


@pytest.mark.parametrize("name", HOST_MODULES)
def test_a_host_needs_no_boto3(name: str) -> None:
    module = PLUGINS / "modules" / f"{name}.py"
    imported = {
        each
        for path in (module, *closure(module, type_checking=False))
        for each in imported_modules(path, type_checking=False)
    }
    assert [each for each in sorted(imported) if re.search(r"\bboto|amazon", each)] == []


# It is a separate process, because Ansible's loader of collections changes how a process imports. It is isolated,
# because ansible-test hides from the tests of modules what of Ansible runs on the controller.
PACKING = """
import sys
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

collections, folder, *names = sys.argv[1:]
init_plugin_loader([collections])
for name in names:
    built = modify_module(
        module_name=f"cwagent.iam.{name}",
        module_path=f"{collections}/ansible_collections/cwagent/iam/plugins/modules/{name}.py",
        module_args={},
        templar=Templar(loader=DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
    )
    with open(f"{folder}/{name}", "wb") as file:
        file.write(built[0] if isinstance(built, tuple) else built.b_module_data)
"""


def test_payloads_for_hosts_are_small(tmp_path: Path) -> None:
    """A host gets them with each task through SSH, without the parts for the controller."""
    (folder,) = {Path(each) for each in modules.__path__}
    collections = folder.parents[4]
    arguments = [sys.executable, "-I", "-c", PACKING, str(collections), str(tmp_path), *HOST_MODULES]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packed = {name: _packed_files((tmp_path / name).read_bytes()) for name in HOST_MODULES}
    sent = {name: sum(files.values()) for name, files in packed.items()}
    assert {name: size for name, size in sent.items() if size > HOST_MODULES[name]} == {}
    # The graph of imports, which other tests use, has the same files.
    assert {name: {*files} for name, files in packed.items()} == {
        name: {str(path.relative_to(PLUGINS)) for path in closure(PLUGINS / "modules" / f"{name}.py")}
        for name in HOST_MODULES
    }


def _packed_files(program: bytes) -> dict[str, int]:
    """The files of module_utils in the archive that Ansible sends in a program, and their sizes."""
    (text,) = re.findall(rb"""["'](UEsD[A-Za-z0-9+/=\n]{100,})["']""", program)  # the beginning of each ZIP archive
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(text)))
    prefix = "ansible_collections/cwagent/iam/plugins/"
    return {
        each.filename.removeprefix(prefix): each.file_size
        for each in archive.infolist()
        if each.filename.startswith(f"{prefix}module_utils/") and each.file_size
    }


def test_other_modules_run_where_boto3_is():
    """Those without an implementation are only documentation of an action."""
    with_code = {path.stem: closure(path) for path in MODULES if closure(path)}
    on_controller = {
        name
        for name, files in with_code.items()
        if any(module.startswith("ansible_collections.amazon") for path in files for module in imported_modules(path))
    }
    assert {*with_code} - on_controller == {*HOST_MODULES}


def test_imports_for_the_type_checker_can_be_excluded(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        f"if TYPE_CHECKING:\n    from {NAMESPACE}._ground.aws import Aws\nfrom {NAMESPACE}._ground import names\n"
    )
    assert set(imported_modules(module)) == {f"{NAMESPACE}._ground.aws", f"{NAMESPACE}._ground.names"}
    assert set(imported_modules(module, type_checking=False)) == {f"{NAMESPACE}._ground.names"}
