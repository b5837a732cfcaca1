from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.options import MAX_DAYS, key_rules
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import KeyRules
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

DEFAULTS = {
    "key_max_age_days": None,
    "rotate_now": False,
    "key_delete_after_days": 7,
    "revoke_old": False,
    "saved_key": None,
}


@pytest.mark.parametrize(
    ("params", "rules"),
    [
        ({}, KeyRules()),
        ({"key_max_age_days": 1, "key_delete_after_days": 0}, KeyRules(timedelta(days=1), timedelta())),
        ({"key_max_age_days": 1, "revoke_old": True}, KeyRules(timedelta(days=1), revoke_old=True)),
        ({"rotate_now": True, "revoke_old": True}, KeyRules(rotate_now=True, revoke_old=True)),
        ({"rotate_now": True, "key_max_age_days": 0}, KeyRules(timedelta(), rotate_now=True)),
        (
            {"key_max_age_days": MAX_DAYS, "key_delete_after_days": MAX_DAYS},
            KeyRules(timedelta(days=MAX_DAYS), timedelta(days=MAX_DAYS)),
        ),
        ({"saved_key": {"evict_unmanaged_key": False}}, KeyRules()),
        ({"saved_key": {"evict_unmanaged_key": True}}, KeyRules(evict_unmanaged_key=True)),
    ],
)
def test_the_rules_follow_the_options(params, rules):
    assert key_rules({**DEFAULTS, **params}) == rules


@pytest.mark.parametrize(
    ("option", "days", "message"),
    [
        ("key_max_age_days", -1, "key_max_age_days must be between 1 and 36500 days, not -1."),
        ("key_max_age_days", 0, "key_max_age_days must be between 1 and 36500 days, not 0."),
        ("key_max_age_days", 36501, "key_max_age_days must be between 1 and 36500 days, not 36501."),
        ("key_delete_after_days", -1, "key_delete_after_days must be between 0 and 36500 days, not -1."),
        ("key_delete_after_days", 36501, "key_delete_after_days must be between 0 and 36500 days, not 36501."),
    ],
)
def test_a_number_of_days_out_of_range_is_refused(option, days, message):
    with pytest.raises(InvalidInput) as failure:
        key_rules({**DEFAULTS, option: days})
    assert str(failure.value) == message


def test_old_keys_are_revoked_only_where_keys_are_replaced():
    with pytest.raises(InvalidInput) as failure:
        key_rules({**DEFAULTS, "revoke_old": True})
    assert str(failure.value) == "revoke_old requires key_max_age_days or rotate_now."
