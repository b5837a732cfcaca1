from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.action.cwagent_agent_config import AWS_OPTIONS, options_for_host

OWN: dict[str, Any] = {"configs": [], "mode": "ec2"}
GROUP = {"profile": "P", "secret_key": "S", "aws_session_token": "T", "region": "eu-1", "endpoint_url": "http://x"}


@pytest.mark.parametrize("known", [AWS_OPTIONS, frozenset()], ids=["with amazon.aws", "without amazon.aws"])
def test_a_host_gets_no_option_of_aws(known: set[str]) -> None:
    assert options_for_host({**OWN, **GROUP}, known) == OWN


def test_a_host_gets_a_misspelled_option_which_its_module_refuses() -> None:
    assert options_for_host({**OWN, "config": []}, AWS_OPTIONS) == {**OWN, "config": []}
