from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import SPEC, choices, scope
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import KEY_STORES

DEFAULTS = {name: spec.get("default") for name, spec in SPEC.items()}
INSTANCE = "i-0123456789abcdef0"


def test_the_whole_account_is_read_in_the_region_of_the_module():
    found = scope(DEFAULTS, "eu-central-1")
    assert (found.names, found.regions, found.label) == (None, ("eu-central-1",), "controller")
    assert found.key_stores == tuple(KEY_STORES)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"roles": ["R"]}, {"role": ["R"], "user": []}),
        ({"users": ["u"]}, {"role": [], "user": ["u"]}),
        ({"roles": []}, {"role": [], "user": []}),
    ],
)
def test_names_are_all_that_is_read(options, names):
    assert scope({**DEFAULTS, **options}, "eu-central-1").names == names


@pytest.mark.parametrize(
    ("options", "region", "regions"),
    [
        ({"instances": {"us-east-1": [INSTANCE]}}, "eu-central-1", ("eu-central-1", "us-east-1")),
        ({"instances": {"": [INSTANCE]}}, "eu-central-1", ("eu-central-1",)),
        ({"instances": {"us-east-1": []}, "regions": ["eu-west-1"]}, None, ("eu-west-1",)),
    ],
)
def test_the_regions_come_from_the_instances_by_default(options, region, regions):
    assert scope({**DEFAULTS, **options}, region).regions == regions


def test_the_empty_name_is_the_region_of_the_module():
    found = scope({**DEFAULTS, "instances": {"": [INSTANCE]}}, "eu-central-1")
    assert found.instances == {"eu-central-1": [INSTANCE]}


@pytest.mark.parametrize(
    ("options", "region", "message"),
    [
        ({}, None, "No AWS region is set."),
        ({"instances": {"": [INSTANCE]}}, None, "No AWS region is set."),
        ({"regions": ["germany"]}, None, "'germany' is not the name of an AWS region"),
        ({"instances": {"germany": []}, "regions": ["eu-west-1"]}, None, "'germany' is not the name"),
        ({"instances": {"": ["web1"]}}, "eu-central-1", "'web1' is not a valid EC2 instance ID"),
        ({"roles": ["a b"]}, "eu-central-1", "'a b' is not a valid role name"),
        ({"users": ["a b"]}, "eu-central-1", "'a b' is not a valid user name"),
    ],
)
def test_invalid_options_are_refused(options, region, message):
    with pytest.raises(InvalidInput, match=message):
        scope({**DEFAULTS, **options}, region)


def test_the_age_of_keys_has_no_limit_with_zero():
    assert choices(DEFAULTS).key_max_age_days == timedelta(days=90)
    assert choices({**DEFAULTS, "key_max_age_days": 0}).key_max_age_days is None
    assert choices(DEFAULTS).inventory_users is None
    assert choices({**DEFAULTS, "inventory_users": []}).inventory_users == frozenset()
    with pytest.raises(InvalidInput, match="key_max_age_days must be between 0 and"):
        choices({**DEFAULTS, "key_max_age_days": -1})
    assert choices({**DEFAULTS, "hybrid_role_name": "Hybrid"}).hybrid_role_name == "Hybrid"
    with pytest.raises(InvalidInput, match="is not a valid role name"):
        choices({**DEFAULTS, "hybrid_role_name": "a b"})
    with pytest.raises(InvalidInput, match="is not a valid instance profile name"):
        choices({**DEFAULTS, "server_profile": "a b"})
