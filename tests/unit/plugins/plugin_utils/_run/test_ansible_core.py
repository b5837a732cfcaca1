from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import yaml
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.ansible_core import check_ansible_core, warning_texts


@pytest.mark.parametrize("version", ["2.18", "2.18.0", "2.18.0rc1", "2.18.16", "2.21.0.dev0", "3.0"])
def test_a_supported_version(version):
    check_ansible_core(version, ">=2.18.0", in_awx=False)


@pytest.mark.parametrize("version", ["2.15.13", "2.17.14", "2.17.0rc2"])
def test_an_unsupported_version_is_one_sentence(version):
    with pytest.raises(InvalidInput) as raised:
        check_ansible_core(version, ">=2.18.0", in_awx=False)
    assert str(raised.value) == (
        f"cwagent.iam requires ansible-core >=2.18.0, and this is {version}: run the playbook with a supported version."
    )


def test_in_awx_the_execution_environment_is_too_old():
    with pytest.raises(InvalidInput, match=r"choose an execution environment that has it for the job template\.$"):
        check_ansible_core("2.15.13", ">=2.18.0", in_awx=True)


def test_the_collection_requires_a_first_version_only():
    requires = yaml.safe_load((PLUGINS.parent / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert re.fullmatch(r">=\d+\.\d+\.0", requires)


@dataclass(frozen=True)
class Part:
    """As Detail of 2.19 and Event of 2.20."""

    msg: str
    help_text: str | None = None


@dataclass(frozen=True)
class Of219:
    details: tuple[Part, ...]


@dataclass(frozen=True)
class Of220:
    event: Part
    chain: None = None


@pytest.mark.parametrize("warning", ["Careful.", Of219((Part("Careful."),)), Of220(Part("Careful."))])
def test_a_warning_is_text_in_every_version(warning):
    assert warning_texts([warning, "And more."]) == ["Careful.", "And more."]


@pytest.mark.parametrize("warnings", [[], [None, 1, {"msg": "Careful."}, Part]])
def test_what_is_no_warning_is_left_out(warnings):
    assert warning_texts(warnings) == []


def test_an_object_without_a_message_is_no_traceback():
    assert warning_texts([Of219(())]) == [""]
