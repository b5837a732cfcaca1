"""The consequences of the texts of parameters for the fitted policies, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.covered_versions import Text
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import History, Version
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Scope, read_document, to_document
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import (
    digest_of,
    not_stored,
    storing_statements,
    storing_times,
)

ACCOUNT = "123456789012"
NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
NAME, OTHER, HERE, THERE = "AmazonCloudWatch-linux", "AmazonCloudWatch-web", "eu-central-1", "us-east-1"


def text(value: str = "{}", name: str = NAME, region: str = HERE) -> Text:
    return Text(name, region, value, "")


def history(*values: str | None, name: str = NAME, region: str = HERE) -> History:
    """A parameter with these texts, the newest first, each stored an hour before the next."""
    numbered = enumerate(values)
    return History(
        name,
        region,
        tuple(Version(len(values) - at, NOW - timedelta(hours=at), "", "Standard", value) for at, value in numbered),
    )


@pytest.mark.parametrize(
    ("texts", "all_regions", "names"),
    [
        ([text()], [], [f"{HERE}:{ACCOUNT}:parameter/{NAME}"]),
        ([text(), text("[]")], [HERE, THERE], [f"{HERE}:{ACCOUNT}:parameter/{NAME}"]),
        (
            [text(), text("[]", region=THERE)],
            [],
            [f"{each}:{ACCOUNT}:parameter/{NAME}" for each in (HERE, THERE)],
        ),
        ([text(), text("[]", region=THERE)], [HERE, THERE], [f"*:{ACCOUNT}:parameter/{NAME}"]),
        (
            [text(name=OTHER), text(), text(region=THERE)],
            [HERE, THERE],
            [f"*:{ACCOUNT}:parameter/{NAME}", f"{HERE}:{ACCOUNT}:parameter/{OTHER}"],
        ),
    ],
)
def test_admin_principals_may_store_each_parameter(texts: list[Text], all_regions: list[str], names: list[str]) -> None:
    [statement] = found = storing_statements(texts, all_regions, Scope("aws", ACCOUNT))
    assert (statement.actions, statement.condition) == (("ssm:PutParameter",), ())
    assert statement.names == tuple(f"arn:aws:ssm:{each}" for each in names)
    arn = f"arn:aws:iam::{ACCOUNT}:policy/cwagent/CloudWatchAgentFittedAdminPolicy"
    assert read_document(to_document(found), arn)[1] == []


@pytest.mark.parametrize(
    ("new", "stored", "missing"),
    [
        ([], [history("{}")], []),
        ([text()], [], [text()]),
        ([text()], [history("{}")], []),
        ([text('{"a":1,"b":2}')], [history('{"b": 2, "a": 1}')], []),
        ([text()], [history("[]", "{}")], [text()]),
        ([text()], [history("{}", region=THERE), history("{}", name=OTHER), history()], [text()]),
        ([text(), text(region=THERE)], [history("{}")], [text(region=THERE)]),
        ([text()], [history(None)], [text()]),
    ],
)
def test_the_texts_that_are_not_the_current_version_are_to_be_stored(
    new: Sequence[Text], stored: Sequence[History], missing: Sequence[Text]
) -> None:
    assert not_stored(new, stored) == {digest_of(each.name, each.region, each.value) for each in missing}


@pytest.mark.parametrize(
    ("stored", "hours"),
    [
        ([], []),
        ([history("{}")], [0]),
        ([history("{}", "[]", "{}")], [0, 2]),
        ([history("{}", "[]", "[]", "{}")], [0]),
        ([history("{}", region=THERE), history("[]", "{}")], [1]),
    ],
)
def test_each_time_in_the_last_hours_at_which_a_text_was_stored_counts(
    stored: Sequence[History], hours: Sequence[int]
) -> None:
    found = storing_times(stored, NOW - timedelta(hours=2))
    assert found.get(digest_of(NAME, HERE, "{}"), []) == [NOW - timedelta(hours=each) for each in hours]
