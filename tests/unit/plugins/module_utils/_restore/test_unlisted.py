from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._restore.unlisted import Unlisted, describe_configs

REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
MANY = frozenset(f"u{number:02}" for number in range(12))
COUNTED = (
    "This inventory has no on-premises hosts, and the account has {} of this collection. "
    "cwagent.iam.audit lists them in a report."
)
UNUSED = "If no server uses them: aws ssm delete-parameters"
FIRST = ", ".join(sorted(MANY)[:10])


@pytest.mark.parametrize(
    ("unlisted", "lines"),
    [
        (Unlisted(), []),
        (
            Unlisted(users=MANY),
            [f"Users of this collection that no host of this inventory has: {FIRST} and 2 more.", REMEDY],
        ),
        (
            Unlisted(saved_in={"us": frozenset({"c"}), "eu": frozenset({"b"})}),
            ["Saved access keys of users that do not exist: eu:b, us:c.", REMEDY],
        ),
        (
            Unlisted(saved_in={"af": frozenset()}, unread={"us": "x", "eu": "x", "cn": "y"}),
            [
                "It is not known whether access keys of users that no host has are saved in eu, us: x.",
                "It is not known whether access keys of users that no host has are saved in cn: y.",
            ],
        ),
        *(
            (Unlisted(users=frozenset(users), names_users=False), [COUNTED.format(counted)])
            for users, counted in (("a", "1 user"), (MANY, "12 users"))
        ),
        (
            Unlisted(users=frozenset({"a"}), saved=frozenset({"b"}), names_users=False),
            [COUNTED.format("1 user"), "Saved access keys of users that no host of this inventory has: b.", REMEDY],
        ),
        (Unlisted(names_users=False), []),
        (Unlisted(instances={"eu": {}}), []),
        (
            Unlisted(instances={"us": {"i-2": "S", "i-1": "S", "i-3": "A"}}),
            [
                "Instances in us that are not in this inventory and have instance profile 'A': i-3.",
                "Instances in us that are not in this inventory and have instance profile 'S': i-1, i-2.",
            ],
        ),
    ],
)
def test_lines(unlisted, lines):
    """test_search.py has users whose access keys are saved."""
    assert unlisted.lines() == lines


def test_configurations_that_remain_have_a_remedy():
    assert describe_configs({"us": ["b"], "eu": ["c", "a"], "af": []}, {"cn": "x"}) == [
        f"Configurations in eu that remain: a, c. {UNUSED} --region eu --names a c",
        f"Configurations in us that remain: b. {UNUSED} --region us --names b",
        "It is not known whether configurations remain in cn: x.",
    ]
