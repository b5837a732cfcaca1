# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes the files of a hybrid server that this runs on."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment

from ansible_collections.cwagent.iam.plugins.module_utils._converge import first_plan
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import read_section
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file import common_config as config_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.restart import AgentFilesResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, root_advice
from ansible_collections.cwagent.iam.plugins.module_utils._files import find_unfinished, missing_folders, read_file
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials import plan as sharing_plan
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.caller import choose_endpoint, find_caller
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.plan import Desired, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.restart import Agent
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan
    from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

# The agent's translated configuration, and the folder of those that it is made from, beside common-config.toml.
_TRANSLATED, _CONFIGS = "amazon-cloudwatch-agent.toml", "amazon-cloudwatch-agent.d"
_DEFAULT_CONFIG, _TEMPORARY = "default", ".tmp"


class SharedCredentialsResource(AgentFilesResource[State]):
    """The credentials file of the SSM agent, and the common configuration of the CloudWatch agent.

    :param endpoint: where the controller calls STS, unless the environment of this host has another address.
    """

    def __init__(self, desired: Desired, agent: Agent | None = None, endpoint: Mapping[str, str] | None = None) -> None:
        super().__init__(agent)
        self._desired = desired
        self._endpoint = endpoint or {"url": "", "signing_region": desired.region}

    def wait_for_credentials(self, deadline: Deadline) -> None:
        """Wait until the SSM agent has written credentials, and until they work where the agent has others now.

        :raises CwagentError: the files cannot be changed, or there are no such credentials in time.
        """
        plan = first_plan(self)
        while problem := self._find_problem(plan.current):
            if not deadline.pause():
                raise CwagentError(
                    f"{problem} Waited for {deadline.seconds:.0f} seconds. Check the SSM agent with 'systemctl status "
                    "amazon-ssm-agent' and in /var/log/amazon/ssm/amazon-ssm-agent.log, and run again. No file was "
                    "changed.",
                    steps=plan.summaries,
                    counts=dict.fromkeys(plan.counts, 0),
                    done=[],
                    not_done=plan.summaries,
                )
            plan = first_plan(self)

    def _find_problem(self, current: State) -> str | None:
        """Return why the CloudWatch agent must not use the credentials yet."""
        desired = self._desired
        if not sharing_plan.has_credentials(current, desired):
            return (
                f"The SSM agent has not written credentials to profile {desired.profile} of {desired.credentials}. It "
                "writes them only when this server is registered and its role can be assumed."
            )
        if not sharing_plan.has_other_credentials(current, desired):
            return None
        found = self._find_caller(current)
        objection = sharing_plan.find_objection(found["caller"], found["caller_error"], desired)
        return objection and f"The CloudWatch agent keeps the credentials that it has. {objection}"

    def find_caller(self) -> dict[str, str | None]:
        """Return the ARN of the credentials, or why it is unknown. Nothing fails, because the files are as desired."""
        try:
            return self._find_caller(self.read())
        except CwagentError as error:
            return {"caller": None, "caller_error": str(error)}

    def _find_caller(self, state: State) -> dict[str, str | None]:
        """Return the ARN of the credentials in the files, or why it is unknown.

        :raises CwagentError: the agent's configuration is not valid.
        """
        config = state.config.text if state.config else ""
        endpoint = choose_endpoint(self._endpoint, os.environ, getproxies_environment(), config)
        text = state.credentials.text if state.credentials else ""
        credentials = read_section(text, self._desired.profile) or {}
        arn, error_text = find_caller(credentials, endpoint)
        return {"caller": arn, "caller_error": error_text}

    def read(self) -> State:
        """Read the files.

        :raises CwagentError: one of them cannot be read, or is not a regular file.
        """
        credentials, config = Path(self._desired.credentials), Path(self._desired.config)
        return State(
            read_file(credentials, "surrogateescape"),  # other profiles stay byte for byte
            # The agent cannot read a file with other bytes, which stay where its settings are removed.
            read_file(config, "strict" if self._desired.is_present else "surrogateescape"),
            tuple(str(left) for path in (credentials, config) if (left := find_unfinished(path))),
            missing_folders([config]),
        )

    def check_preconditions(self, current: State, /) -> None:
        """Refuse a server whose CloudWatch agent could not read the credentials.

        :raises CwagentError: the reason, and what to do.
        """
        del current
        user = self._agent_user()
        if not self._desired.is_present or user is None or can_read(user, self._desired.credentials):
            return
        raise CwagentError(
            f"The CloudWatch agent of this server runs as user '{user}' (run_as_user), who cannot read "
            f"{self._desired.credentials}, where the SSM agent keeps the credentials. There are three ways out: remove "
            "run_as_user from the agent's configuration, so that the agent runs as root; or set "
            "AWS_SHARED_CREDENTIALS_FILE in the service of the SSM agent to an existing file that this user owns, in a "
            "folder that this user can enter; or use an access key for this server (cwagent_onprem_identity: key). "
            "Nothing was changed."
        )

    def plan_files(self, current: State, /) -> Plan[State]:
        """Plan the steps from the current files to the desired ones."""
        return sharing_plan.plan(current, self._desired)

    def to_diff(self, state: State, /) -> dict[str, Any]:
        """Render a state for the diff."""
        return sharing_plan.to_diff(state, self._desired)

    def to_result(self, plan: Plan[State], final: State, /) -> dict[str, Any]:
        """Return where the credentials are."""
        del plan, final
        return {"path": self._desired.credentials, "profile": self._desired.profile}

    def _agent_user(self) -> str | None:
        """Return the user that the configuration of the CloudWatch agent names, other than root.

        The configuration that the agent has before its first one does not count.
        """
        folder = Path(self._desired.config).parent
        names = [path.name for path in (folder / _CONFIGS).glob("*") if path.suffix != _TEMPORARY]
        if names == [_DEFAULT_CONFIG]:
            return None
        user = None
        # The agent itself reports a file that it cannot read.
        with contextlib.suppress(CwagentError):
            found = read_file(folder / _TRANSLATED)
            user = config_format.read_text(found.text, "agent", "run_as_user") if found else None
        return None if user in ("", "root") else user


def can_read(name: str, path: str) -> bool:
    """Whether a user can read a file, considering all folders, groups and access control lists.

    :raises CwagentError: this process cannot become that user.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return False
    identity: dict[str, Any] = {}
    if user.pw_uid != os.geteuid():
        groups = os.getgrouplist(name, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}
    try:
        # AnsibleModule.run_command cannot become another user.
        # pylint: disable-next=ansible-bad-function
        tested = subprocess.run(["/usr/bin/test", "-r", path], check=False, **identity)  # noqa: S603  a fixed program
    except OSError as error:
        what = f"Could not check whether user {name} can read {path}"
        raise CwagentError(f"{what}: {error.strerror}.{root_advice(error)}") from error
    return tested.returncode == 0
