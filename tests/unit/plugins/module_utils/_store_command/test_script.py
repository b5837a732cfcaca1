"""The text of the scripts. What the shell does with them is tested on emulated instances."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import LINUX, WINDOWS
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import StoreRequest, Write
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.script import check_script, store_script

PLATFORMS = [LINUX, WINDOWS]
REGION, NAME = "eu-central-1", "AmazonCloudWatch-linux"
# What a shell, PowerShell, a locale or Systems Manager could take for something else.
UNKIND_VALUES = ["{{ssm:secret}}", "$(id) `id` ${HOME} $env:X", "'\"\\\n%s", "Füße 漢字 \U0001f600", "'; exit; '"]


def request(*writes: Write) -> StoreRequest:
    return StoreRequest(writes or (Write(REGION, NAME, "{}", "Standard", 3),), "Admin", 1_795_000_000, 180)


def decoded(script: str) -> list[str]:
    """All base64 in a script, decoded."""
    words = re.findall(r"(?:echo |FromBase64String\(')([A-Za-z0-9+/=]+)", script)
    return [base64.b64decode(each).decode() for each in words]


@pytest.mark.parametrize("platform", PLATFORMS)
@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(UNKIND_VALUES))
def test_nothing_touches_the_value_on_its_way(platform: str, value: str) -> None:
    script = store_script(platform, request(Write(REGION, NAME, value, "Standard")))
    assert script.isascii()
    assert "{{" not in script
    found = [json.loads(each) for each in decoded(script) if each.startswith("{")]
    assert value in [each.get("Value") or each["parameters"][0]["value"] for each in found]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_text_for_systems_manager_has_no_reference(platform: str) -> None:
    assert "{{" not in check_script(platform, [REGION])
    assert check_script(platform, [REGION]).isascii()


@pytest.mark.parametrize("text", ["Admin$(id)", "a b", "{{x}}", "x;y"])
def test_names_that_a_shell_could_run_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        store_script(LINUX, StoreRequest((Write(REGION, text, "{}", "Standard"),), "Admin", 1, 1))
    with pytest.raises(InvalidInput):
        store_script(LINUX, StoreRequest((Write(REGION, NAME, "{}", "Standard"),), text, 1, 1))
    with pytest.raises(InvalidInput):
        check_script(LINUX, [text])


def test_a_value_for_several_regions_is_sent_once() -> None:
    value = "x" * 4000
    one = store_script(LINUX, request(Write(REGION, NAME, value, "Standard")))
    two = store_script(LINUX, request(*(Write(each, NAME, value, "Standard") for each in (REGION, "us-east-1"))))
    assert len(two) - len(one) < 100


@pytest.mark.parametrize("shell", ["sh", "bash --posix"])
def test_a_shell_understands_the_scripts(shell: str) -> None:
    for script in (store_script(LINUX, request()), check_script(LINUX, [REGION])):
        done = subprocess.run([*shell.split(), "-n"], input=script, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_shell_gets_the_request() -> None:
    other = Write("us-east-1", NAME, "{}", "Advanced", can_change_tier=False)
    lines = store_script(LINUX, request(Write(REGION, NAME, "{}", "Standard", 3), other)).splitlines()
    expected = [
        "admin_role=Admin",
        f"home_region={REGION}",
        "deadline=1795000000",
        "permission_seconds=180",
        f"    store p0 {REGION} {NAME} 0 3 Standard yes",
        f"    store p1 us-east-1 {NAME} 0 0 Advanced no",
    ]
    assert [line for line in lines if line in expected] == expected


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_schema_that_would_be_cut_is_not_sent(platform: str) -> None:
    """Systems Manager cuts what a command prints after 24,000 characters, and the rest needs less than 4,000."""
    script = check_script(platform, [REGION])
    assert re.search(r"max_schema\D+20000\b", " ".join([script, *decoded(script)]))


def test_the_windows_scripts_get_the_same_request() -> None:
    """Not run: this holds what they are told to what the others are told."""
    [text] = decoded(store_script(WINDOWS, request()))
    assert json.loads(text) == {
        "role": "Admin",
        "deadline": 1_795_000_000,
        "permission_seconds": 180,
        "parameters": [
            {
                "region": REGION,
                "name": NAME,
                "value": "{}",
                "tier": "Standard",
                "version": 3,
                "can_change_tier": True,
                "found": 0,
                "status": "waiting",
                "error": "",
                "written": False,
            }
        ],
    }


@pytest.mark.parametrize("word", ["stored", "changed", "failed", "waiting", "no-cli", "no-role"])
def test_both_platforms_answer_in_the_same_words(word: str) -> None:
    assert all(word in store_script(platform, request()) for platform in PLATFORMS)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_both_platforms_answer_with_the_same_keys(platform: str) -> None:
    def keys(script: str) -> set[str]:
        text = script.replace("\\'", "'")
        return {
            each
            for each in ("problem", "parameters", "cli", "regions", "schema")
            if re.search(rf'["\s{{;]{each}["\s]', text)
        }

    assert {"problem", "parameters"} <= keys(store_script(platform, request()))
    assert {"cli", "regions", "schema"} <= keys(check_script(platform, [REGION]))


@pytest.mark.parametrize("bracket", ["()", "[]", "{}"])
def test_the_brackets_of_the_windows_scripts_are_balanced(bracket: str) -> None:
    opening, closing = bracket[0], bracket[1]
    for script in (store_script(WINDOWS, request()), check_script(WINDOWS, [REGION])):
        without_strings: Any = re.sub(r"'[^'\n]*'", "", script)
        assert without_strings.count(opening) == without_strings.count(closing)
