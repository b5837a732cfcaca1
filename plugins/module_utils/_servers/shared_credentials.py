# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a hybrid server that this runs on, for the module cwagent_shared_credentials.

It reads the settings of the SSM agent, and asks STS for the identity of the credentials. No text that it returns
contains a credential, an answer of STS (which can quote the signed request), or a value of the environment.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment

from .._ground.converge import first_plan
from .._ground.environment import ENVIRONMENT_SPEC
from .._ground.errors import CLOCK_CODES, CwagentError, error_code, root_advice
from .._ground.files import check_paths, find_unfinished, missing_folders, read_file
from .._ground.names import check_region, name_of
from .._ground.signed_call import Answer, Endpoint, Keys, call, own_url
from .._keys.saved_key import read_section
from . import credentials_plan as config_format
from . import shared_credentials_plan as sharing_plan
from .credentials_plan import read_text
from .restart import AgentFilesResource
from .shared_credentials_plan import CREDENTIALS, Desired, State, parse_environment, parse_unit, shared_file
from .ssm_agent import SERVICE, SNAP_SERVICE, Configuration, read_configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._ground.plan import Plan
    from .._ground.wait import Deadline
    from .restart import Agent


ATTEMPTS = 2
SERVER_ERROR = 500


def choose_endpoint(
    handed: Mapping[str, str], environment: Mapping[str, str], proxies: Mapping[str, str], config: str
) -> Endpoint:
    """Return how a host reaches STS.

    :param handed: the endpoint that the controller has handed over.
    :param proxies: the proxies of the environment, as ``urllib.request.getproxies_environment`` returns them.
    :param config: the text of the agent's common configuration, which counts where the environment has nothing.
    :raises CwagentError: a line of that text cannot be read.
    """
    found = {each: read_text(config, "proxy", f"{each}_proxy") for each in ("http", "https", "no")}
    settings = {name: value for name, value in found.items() if value}
    return Endpoint(
        "sts",
        own_url("sts", environment) or handed["url"],
        handed["signing_region"],
        proxies if proxies.keys() - {"no"} else {**settings, **proxies},
        environment.get("AWS_CA_BUNDLE") or read_text(config, "ssl", "ca_bundle_path") or "",
    )


def find_caller(credentials: Mapping[str, str], endpoint: Endpoint) -> tuple[str | None, str | None]:
    """Return the ARN of the credentials, or the reason why STS did not return it.

    :param credentials: the options of the profile with the credentials.
    """
    if not all(credentials.get(each) for each in CREDENTIALS):
        return None, "The credentials file has no credentials at the moment."
    if not endpoint.url:
        return None, "The address of STS is not known. Check the region, and that the controller has boto3."
    keys = Keys(*(credentials[each] for each in CREDENTIALS))
    return read_answer(call(endpoint, keys, "GetCallerIdentity", {}, ATTEMPTS))


def read_answer(answer: Answer) -> tuple[str | None, str | None]:
    """Return the ARN in an answer, or the reason why there is none."""
    if answer.reason:
        return None, f"STS did not answer: {answer.reason}."
    if answer.arn:
        return answer.arn, None
    code, message = answer.error or ("", "")
    if error_code(code, message) in CLOCK_CODES:
        return None, f"The clock of this server differs from the one of AWS ({code}). Set it, for instance with NTP."
    if code and answer.status < SERVER_ERROR:
        return None, f"STS refused the credentials ({code})."
    return None, (f"The answer with HTTP status {answer.status} is not one of STS. Check the proxy and the endpoint.")


_PROPERTIES = "--property=LoadState,MainPID,Environment,EnvironmentFiles"


def find_configuration(path: str) -> Configuration | None:
    """Return the configuration of the SSM agent; ``None`` if the agent cannot read its file.

    :raises CwagentError: this process cannot read the file.
    """
    found = read_file(Path(path), "replace")
    return read_configuration(found.text) if found else Configuration()


def find_shared_file(systemctl: str | None, run_command: Callable[[list[str]], tuple[int, str, str]]) -> str:
    """Return the path of the credentials file that the SSM agent keeps.

    :param systemctl: the path of this program; ``None`` if the host does not have it.
    :param run_command: runs a program and returns its status and outputs: ``AnsibleModule.run_command``.
    :raises CwagentError: the path cannot be found.
    """
    environment = _read_environment(systemctl, run_command) if systemctl else {}
    return shared_file(environment, pwd.getpwuid(0).pw_dir)


def _read_environment(systemctl: str, run_command: Callable[[list[str]], tuple[int, str, str]]) -> dict[str, str]:
    """Return the environment of the SSM agent's process. Without a process, it is the one of the next process."""
    for name in (SERVICE, SNAP_SERVICE):
        unit = parse_unit(run_command([systemctl, "show", _PROPERTIES, name])[1])
        if unit.process:
            # A service that was changed since its start still writes the earlier file.
            environment = _read_text(Path(f"/proc/{unit.process}/environ"))
            if environment:
                return parse_environment(environment)
        if unit.is_loaded:
            found = dict(unit.environment)
            for path in unit.files:
                found.update(parse_environment(_read_text(Path(path))))
            return found
    return {}


def _read_text(path: Path) -> str:
    """Return the text of a file, which is empty if it does not exist."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except PermissionError as error:
        raise CwagentError(f"Could not read {path}: {error.strerror}.{root_advice(error)}") from error
    except OSError:
        return ""


SPEC: dict[str, Any] = {
    "region": {"type": "str", "required": True},
    "common_config": {"type": "path", "default": "/opt/aws/amazon-cloudwatch-agent/etc/common-config.toml"},
    "agent_ctl": {"type": "path"},
    "ssm_agent_config": {"type": "path", "default": "/etc/amazon/ssm/amazon-ssm-agent.json"},
    "credentials_file": {"type": "path"},
    "role": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait_timeout": {"type": "int", "default": 180},
    "endpoint": {"type": "dict"},
    **ENVIRONMENT_SPEC,
}


def desired_files(params: Mapping[str, Any], find_file: Callable[[], str]) -> Desired:
    """Return the desired state of the files.

    :param find_file: returns the path of the file that the SSM agent keeps.
    :raises CwagentError: an option cannot be used on this host, or the SSM agent does not share its credentials.
    """
    check_paths(params, "common_config", "agent_ctl", "ssm_agent_config", "credentials_file")
    check_region(params["region"])
    is_present = params["state"] == "present"
    configuration = find_configuration(params["ssm_agent_config"])
    if configuration is None:
        if is_present:
            raise CwagentError(
                f"{params['ssm_agent_config']} is not valid, so the SSM agent ignores it, and it is unknown which "
                "settings apply after its next restart. Fix or delete the file, and restart the SSM agent. Nothing was "
                "changed."
            )
        configuration = Configuration()
    if is_present and not configuration.shares_credentials:
        raise CwagentError(
            f"The SSM agent of this server does not write its credentials to a file (Profile.ShareCreds is false in "
            f"{params['ssm_agent_config']}), so the CloudWatch agent cannot use them. Remove that setting and restart "
            "the SSM agent, or use an access key for this server (cwagent_onprem_identity: key). Nothing was changed."
        )
    file = params["credentials_file"] or find_file()
    role = name_of(params["role"]) if params["role"] else None
    return Desired(params["region"], file, params["common_config"], configuration.profile, is_present, role)


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
