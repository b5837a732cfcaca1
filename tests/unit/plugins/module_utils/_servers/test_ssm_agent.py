from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._servers.ssm_agent import Configuration, read_configuration

DEFAULT = Configuration("default", True, ())
AGENT = Configuration("agent", True, ())
EC2 = Configuration("default", True, ("EC2", "OnPrem"))


@pytest.mark.parametrize(
    ("text", "configuration"),
    [
        ("{}", DEFAULT),
        ('{"Profile": null, "Identity": null, "Agent": {"Region": "x"}}', DEFAULT),
        ('{"Profile": {"ShareCreds": true, "ShareProfile": ""}}', DEFAULT),
        ('{"Profile": {"ShareProfile": "agent"}}', AGENT),
        ('{"Profile": {"ShareCreds": false, "ShareProfile": "agent"}}', Configuration("agent", False, ())),
        ('{"Identity": {"ConsumptionOrder": []}}', DEFAULT),
        ('{"Identity": {"ConsumptionOrder": null}}', DEFAULT),
        ('{"Identity": {"ConsumptionOrder": ["EC2", "OnPrem"]}}', EC2),
        # Go takes names in any case, and the last value.
        ('{"profile": {"sharecreds": false, "SHAREPROFILE": "agent"}}', Configuration("agent", False, ())),
        ('{"identity": {"consumptionorder": ["EC2", "OnPrem"]}}', EC2),
        ('{"Profile": {"shareprofile": "x", "ShareProfile": "agent", "SHAREPROFILE": null}}', AGENT),
    ],
)
def test_the_configuration_is_read_as_the_ssm_agent_reads_it(text, configuration):
    assert read_configuration(text) == configuration


# Texts that the SSM agent cannot read.
MALFORMED = [
    "",
    "{",
    "\ufeff{}",
    "[]",
    "[" * 100_000,
    "1",
    "null",
    '"Profile"',
    '{"Profile": []}',
    '{"Profile": "x"}',
    '{"Profile": {"ShareCreds": "false"}}',
    '{"Profile": {"ShareCreds": 0}}',
    '{"Profile": {"ShareProfile": 1}}',
    '{"Profile": {"ShareProfile": "a]"}}',
    '{"Profile": {"ShareProfile": "a\\nb"}}',
    '{"Profile": {"ShareProfile": "\\ud800"}}',
    '{"Identity": "x"}',
    '{"Identity": []}',
    '{"Identity": {"ConsumptionOrder": "OnPrem"}}',
    '{"Identity": {"ConsumptionOrder": {"OnPrem": 1}}}',
    '{"Identity": {"ConsumptionOrder": ["OnPrem", 1]}}',
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:60])
def test_a_configuration_that_the_ssm_agent_cannot_read_is_none(text):
    assert read_configuration(text) is None
