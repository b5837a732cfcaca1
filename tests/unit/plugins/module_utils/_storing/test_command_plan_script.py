"""The text of the scripts. Other tests run the scripts in a shell, on emulated instances."""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import (
    StoreRequest,
    Write,
    check_script,
    store_script,
)

REGION, NAME = "eu-central-1", "AmazonCloudWatch-linux"
# Values that a shell, a locale or Systems Manager could misinterpret.
UNKIND_VALUES = ["{{ssm:secret}}", "$(id) `id` ${HOME}", "'\"\\\n%s", "Füße 漢字 \U0001f600", "'; exit; '"]


def request(*writes: Write) -> StoreRequest:
    return StoreRequest(writes or (Write(REGION, NAME, "{}", "Standard", 3),), "Admin", 1_795_000_000, 180)


def decoded(script: str) -> list[str]:
    """All base64 in a script, decoded."""
    words = re.findall(r"echo ([A-Za-z0-9+/=]+)", script)
    return [base64.b64decode(each).decode() for each in words]


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(UNKIND_VALUES))
def test_nothing_touches_the_value_on_its_way(value: str) -> None:
    script = store_script(request(Write(REGION, NAME, value, "Standard")))
    assert script.isascii()
    assert "{{" not in script
    found = [json.loads(each) for each in decoded(script) if each.startswith("{")]
    assert value in [each["Value"] for each in found]


def test_the_text_for_systems_manager_has_no_reference() -> None:
    assert "{{" not in check_script([REGION])
    assert check_script([REGION]).isascii()


@pytest.mark.parametrize("text", ["Admin$(id)", "a b", "{{x}}", "x;y"])
def test_names_that_a_shell_could_run_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        store_script(StoreRequest((Write(REGION, text, "{}", "Standard"),), "Admin", 1, 1))
    with pytest.raises(InvalidInput):
        store_script(StoreRequest((Write(REGION, NAME, "{}", "Standard"),), text, 1, 1))
    with pytest.raises(InvalidInput):
        check_script([text])


@pytest.mark.parametrize("text", ["$(id)", "a'b", "a`b"])
def test_a_description_that_a_shell_could_run_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        store_script(StoreRequest((Write(REGION, NAME, "{}", "Standard", description=text),), "Admin", 1, 1))


def test_a_value_for_several_regions_is_sent_once() -> None:
    value = "x" * 4000
    one = store_script(request(Write(REGION, NAME, value, "Standard")))
    two = store_script(request(*(Write(each, NAME, value, "Standard") for each in (REGION, "us-east-1"))))
    assert len(two) - len(one) < 100


@pytest.mark.parametrize("shell", ["sh", "bash --posix"])
def test_a_shell_understands_the_scripts(shell: str) -> None:
    for script in (store_script(request()), check_script([REGION])):
        done = subprocess.run([*shell.split(), "-n"], input=script, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_shell_gets_the_request() -> None:
    other = Write("us-east-1", NAME, "{}", "Advanced", can_change_tier=False, description="as version 4")
    lines = store_script(request(Write(REGION, NAME, "{}", "Standard", 3), other)).splitlines()
    expected = [
        "admin_role=Admin",
        f"home_region={REGION}",
        "deadline=1795000000",
        "permission_seconds=180",
        f"    store p0 {REGION} {NAME} 0 3 Standard yes ''",
        f"    store p1 us-east-1 {NAME} 0 0 Advanced no 'as version 4'",
    ]
    assert [line for line in lines if line in expected] == expected


def test_a_schema_that_would_be_cut_is_not_sent() -> None:
    """Systems Manager cuts the output of a command after 24,000 characters, and the rest needs less than 4,000."""
    assert "max_schema=20000" in check_script([REGION]).splitlines()
