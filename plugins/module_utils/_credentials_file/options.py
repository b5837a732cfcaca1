# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the options of ``cwagent_credentials_file`` into the desired state of the files on a host."""

from __future__ import annotations

import grp
import pwd
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._files import check_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def desired_files(params: Mapping[str, Any], check_mode: bool) -> Desired:
    """Return the desired state of the files.

    :raises InvalidInput: an option cannot be used on this host.
    """
    check_paths(params, "path", "common_config", "agent_ctl")
    is_present = params["state"] == "present"
    # In check mode, the key may not exist yet.
    if is_present and not params["content"] and not check_mode:
        raise InvalidInput("There is no access key to write. The action plugin of this module reads it.")
    return Desired(
        params["path"],
        params["common_config"],
        params["credentials_profile"],
        (params["content"] or "") if is_present else None,
        _id_of("owner", "user", params["owner"], lambda name: pwd.getpwnam(name).pw_uid) if is_present else None,
        _id_of("group", "group", params["group"], lambda name: grp.getgrnam(name).gr_gid) if is_present else None,
    )


def _id_of(option: str, kind: str, name: str | None, find: Callable[[str], int]) -> int | None:
    """Return the number of an owner or a group. The option can be a name or the number itself."""
    if not name:
        return None
    try:
        return find(name)
    except KeyError as error:
        if name.isdecimal():
            return int(name)
        raise InvalidInput(f"{option}: there is no {kind} '{name}' on this host.") from error
