from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import (
    MAX_SCRIPT,
    SHELL_PREAMBLE,
    check_size,
    to_base64,
    to_json,
    word,
)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_goes_through_base64_and_json_in_ascii(text: str) -> None:
    assert to_json(text).isascii()
    assert json.loads(to_json(text)) == text
    assert to_base64(text).isascii()
    assert "{" not in to_base64(text)


@pytest.mark.parametrize("text", ["eu-central-1", "AmazonCloudWatch-a.b_c-1", "Role+=,.@_-9"])
def test_a_word_stands_in_a_script_as_it_is(text: str) -> None:
    assert word(text) == text
    echoed = subprocess.run(["/bin/sh", "-c", f"echo {text}"], check=True, capture_output=True, text=True)
    assert echoed.stdout.strip() == text


@pytest.mark.parametrize(
    "text", ["", "a b", "a;b", "$(id)", "`id`", "a'b", "a\nb", "ü", "{{ssm:x}}", "*", "a/b", "#a\n"]
)
def test_text_that_a_shell_could_change_is_no_word(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be used in a command"):
        word(text)


def test_a_script_that_is_too_large_is_refused() -> None:
    assert [check_size("x" * size) for size in (1, MAX_SCRIPT)] == ["x", "x" * MAX_SCRIPT]
    with pytest.raises(InvalidInput, match=r"60001 characters, and at most 60000 are sent\. Store fewer"):
        check_size("x" * (MAX_SCRIPT + 1))


def test_a_message_is_made_to_fit_into_a_string_of_json() -> None:
    text = 'a "b" \\ ü\n\tc { } ~ ' + "x" * 1000
    script = f"{SHELL_PREAMBLE}\nprintf '%s' \"$(cat)\" | printable"
    done = subprocess.run(["/bin/sh", "-c", script], input=text, check=True, capture_output=True, text=True)
    printed = done.stdout.strip()
    assert json.loads(f'"{printed}"') == printed
    assert printed.startswith("a b c { } ~ xxx")


def test_the_folder_of_a_script_is_private_and_is_removed() -> None:
    script = f'{SHELL_PREAMBLE}\nls -ld "$folder"; echo text >"$folder/file"; ls -l "$folder/file"; echo "$folder"'
    done = subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True, text=True)
    folder, file, path = done.stdout.splitlines()
    assert folder.startswith("drwx------")
    assert file.startswith("-rw-------")
    assert subprocess.run(["/bin/sh", "-c", f"test -e {path}"], check=False).returncode != 0
