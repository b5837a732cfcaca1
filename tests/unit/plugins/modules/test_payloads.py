"""The files that Ansible sends with a module. Ansible even sends files that only the type checker imports."""

from __future__ import annotations

import re

import pytest
from import_graph import NAMESPACE, PLUGINS, closure, imported_modules

MODULES = sorted(PLUGINS.glob("modules/*.py"))
# They do not use boto3, but the base of all resources has the type of the gateway.
WITHOUT_AWS = ("cwagent_agent_config", "cwagent_credentials_file", "cwagent_shared_credentials")
UNUSED = {"cwagent_agent_config": {"gateway.py"}, "cwagent_credentials_file": {"gateway.py", "aws.py"}}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_file_is_sent_for_the_type_checker_alone(module):
    superfluous = closure(module) - closure(module, type_checking=False)
    assert {path.name for path in superfluous} == UNUSED.get(module.stem, set())


@pytest.mark.parametrize("name", [*WITHOUT_AWS, "cwagent_ssm_agent", "cwagent_store_host"])
def test_a_host_needs_no_boto3(name: str) -> None:
    module = PLUGINS / "modules" / f"{name}.py"
    imported = {
        each
        for path in (module, *closure(module, type_checking=False))
        for each in imported_modules(path, type_checking=False)
    }
    assert [each for each in sorted(imported) if re.search(r"\bboto|amazon", each)] == []


def test_payloads_for_instances_are_small():
    """An instance gets them with each task through SSH, without the parts for the controller."""
    sent = {path.parent.name for path in closure(PLUGINS / "modules" / "cwagent_store_host.py")}
    assert sent.isdisjoint({"_principals", "_accounts", "_fitting", "_agents"})


def test_imports_for_the_type_checker_can_be_excluded(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        f"if TYPE_CHECKING:\n    from {NAMESPACE}._ground.aws import Aws\nfrom {NAMESPACE}._ground import names\n"
    )
    assert set(imported_modules(module)) == {f"{NAMESPACE}._ground.aws", f"{NAMESPACE}._ground.names"}
    assert set(imported_modules(module, type_checking=False)) == {f"{NAMESPACE}._ground.names"}
