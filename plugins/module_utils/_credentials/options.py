# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses where access keys are saved, from a module's options. Not in ``store.py``, which the stores import."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.aws_store import ParameterStore, SecretStore
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.store import Store

# Set by ansible-runner in a container, and by AWX in all jobs.
CONTAINER_VARIABLES = ("LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR")
# AWS tools do not read a section DEFAULT. Python's parser takes the defaults of all other sections from it.
_PROFILE = r"(?!DEFAULT$)[\w.@-]+"


def key_store(params: Mapping[str, Any], region: str | None, aws: Aws) -> Store | None:
    """Return the store for the keys; ``None`` if keys are not managed.

    :raises InvalidInput: keys cannot be saved there.
    """
    saved_key = params["saved_key"]
    if saved_key is None:
        return None
    store: Store
    if saved_key["key_store"] == "file":
        store = _file_store(saved_key, region, present=params["state"] == "present")
    else:
        kind = ParameterStore if saved_key["key_store"] == "parameter_store" else SecretStore
        store = kind(aws, saved_key["key_store_prefix"], region, saved_key["key_store_kms_key_id"])
    store.check(params["name"])
    return store


def _file_store(saved_key: Mapping[str, Any], region: str | None, present: bool) -> FileStore:
    profile, directory = saved_key["credentials_profile"], saved_key["key_store_directory"]
    if not re.fullmatch(_PROFILE, profile, re.ASCII):
        raise InvalidInput(f"saved_key.credentials_profile: '{profile}' is not a valid profile name.")
    # An option that is null counts as given.
    if not directory or "\0" in directory:
        raise InvalidInput("saved_key.key_store_directory must be a folder when saved_key.key_store is file.")
    is_ephemeral = any(os.environ.get(name) for name in CONTAINER_VARIABLES)
    if is_ephemeral and present and not saved_key["key_store_allow_ephemeral"]:
        raise InvalidInput(
            "saved_key.key_store: this is an execution environment, a container that is deleted after the job, "
            "together with the secrets in its files. Save them to 'parameter_store' or 'secrets_manager'; or, if "
            f"{directory} is a mounted volume that outlives the container, set saved_key.key_store_allow_ephemeral to "
            "true (for the playbooks: cwagent_key_store_allow_ephemeral)."
        )
    return FileStore(Path(directory).absolute(), profile, region)
