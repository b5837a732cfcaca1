# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks early that access keys can be saved in their place, as the module would check later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.validation import check_type_path

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import AWS_STORES, PLACE_SPEC, open_store
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import is_blank, to_typed

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_kms_key(prefix: str, store: str, ssm_policy: str, kms_key_id: str, holder: str = "") -> None:
    """Check that an SSM policy that the run attaches does not let every server read the saved keys.

    :param prefix: how the names of the variables begin.
    :param ssm_policy: empty if the run changes none, ``none`` if it detaches it.
    :param holder: the role that has the policy in any case. By default, a variable chooses the policy.
    :raises InvalidInput: the policy lets them.
    """
    # The ID of an AWS managed key looks like the ID of a key of the user.
    is_aws_managed = kms_key_id.rpartition(":")[2].startswith("alias/aws/")
    is_readable = store in AWS_STORES and AWS_STORES[store].ARE_PARAMETERS
    if is_readable and ssm_policy not in ("", "none") and (is_aws_managed or not kms_key_id):
        key = f"'{kms_key_id}', an AWS managed key" if kms_key_id else "not set"
        cause = f"{holder} has" if holder else f"{prefix}_ssm_policy is"
        raise InvalidInput(
            f"{prefix}_key_store_kms_key_id is {key}, {prefix}_key_store is {store}, and {cause} {ssm_policy}. "
            f"That policy allows reading every parameter that the AWS managed key encrypts, including "
            f"the saved access keys. Set {prefix}_key_store_kms_key_id to a KMS key that the servers cannot use."
        )


def check_role_key_store(role: str, options: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> None:
    """Check where a role saves keys; nothing for a role that saves none.

    :param options: the options in the role's argument specs.
    :param values: the values of its variables, which have valid types.
    :raises InvalidInput: the keys cannot be saved there.
    """
    name = f"{role}_key_store_allow_ephemeral"
    if name not in options or values.get(f"{role}_state") == "absent":
        return
    by_region = values.get(f"{role}_users_by_region") or {"": values.get(f"{role}_users", [])}
    users = [user for users in by_region.values() for user in users]
    place = {option: values[f"{role}_{option}"] for option in PLACE_SPEC}
    place["key_store_directory"] = check_type_path(place["key_store_directory"])  # as the option of the module takes it
    allowed = bool(to_typed(name, options[name], values[name]))
    open_store({**place, "key_store_allow_ephemeral": allowed}, users)
    if users:
        policy, key = (values[f"{role}_{option}"] for option in ("ssm_policy", "key_store_kms_key_id"))
        check_kms_key(role, place["key_store"], *("" if is_blank(each) else each for each in (policy, key)))
