# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of AWS services, which a host gets from the controller. botocore knows them.

Runs a module for AWS inside Ansible, which has imported boto3 for all tasks.

Ansible starts a Python for each module, which imports boto3 and reads descriptions of the AWS services. That is most of
the time of a task that changes nothing. An action with the module's name is imported once, in the process that forks
the worker of each task. The worker then does the work of the module itself. If that would make a difference for the
user, the module runs as any module does.
"""

from __future__ import annotations

import functools
import gc
import io
import json
import logging
import multiprocessing
import os
import re
import sys
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies_environment

from ansible import constants
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action.normal import ActionModule as NormalAction

from ...module_utils._ground import plan
from ...module_utils._ground.changes import to_lines
from ...module_utils._ground.errors import CwagentError, InvalidInput, explain_connection
from ...module_utils._ground.text import join_first, to_message
from .._run.settings import fill_task
from .._run.task import hosts_of_instances
from .terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ...module_utils._ground.call import Call


with suppress(ImportError):  # callers check for boto3, or suppress every error
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

# To sign with, although nothing is sent.
_NO_KEYS = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
# Any operation, to sign an address that nothing is sent to.
_OPERATIONS = {"ssm": ("get_parameter", {"Name": "x"}), "sts": ("get_caller_identity", {})}


def find_endpoint(service: str, region: str) -> dict[str, str]:
    """Return the endpoint of a service in a region, as the option ``endpoints`` of a module has it.

    The endpoint URLs of the controller's own configuration are for the controller alone.

    :raises CwagentError: botocore knows none, because the region or the configuration of the controller is not valid.
    """
    try:
        return _find(service, region)
    except BotoCoreError as error:
        raise CwagentError(f"The endpoint of {service} in {region} is not known here ({error}).") from error


def _find(service: str, region: str) -> dict[str, str]:
    session = botocore.session.get_session()
    session.set_config_variable("sts_regional_endpoints", "regional")
    client = session.create_client(
        service,
        region_name=region,
        **_NO_KEYS,
        config=Config(ignore_configured_endpoint_urls=True),
    )
    operation, arguments = _OPERATIONS[service]
    signed = urlsplit(client.generate_presigned_url(operation, arguments))
    signing_region = parse_qs(signed.query)["X-Amz-Credential"][0].split("/")[2]
    url = f"{signed.scheme}://{signed.netloc}"
    return {"service": service, "region": region, "url": url, "signing_region": signing_region}


# An action that cannot be imported ends the whole run, whichever task it is for. Without these imports, the module runs
# as any module does. Its Python can be another one. If it is the same, the module reports the missing library.
try:
    import botocore.session
    from ansible_collections.amazon.aws.plugins.module_utils.botocore import gather_sdk_versions
    from ansible_collections.amazon.aws.plugins.plugin_utils.base import AWSPluginBase

    from ...module_utils._ground import call as _call
    from ...module_utils._ground import call as _module
    from ...module_utils._ground import environment as _environment
except Exception:  # noqa: BLE001  an import can raise anything
    CAN_IMPORT = False
    AWSPluginBase = object
else:
    CAN_IMPORT = True
    # Each session makes a loader, which caches its data. One loader for all sessions caches the data for the workers.
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)

# The values of the setting for which Ansible looks for a Python itself.
DISCOVERED = ("auto", "auto_silent", "auto_legacy", "auto_legacy_silent")
# The names that a shell takes for variables, without those that change how a Python starts.
VARIABLE = re.compile(r"(?!PYTHON|LD_)[A-Za-z_][A-Za-z0-9_]*")
# How many hosts a message names.
MAX_NAMED = 10
# The data that botocore reads for any client, and for a client of one service.
FOR_ALL_CLIENTS = ("endpoints", "partitions", "sdk-default-configuration", "_retry")
FOR_A_CLIENT = ("service-2", "endpoint-rule-set-1")
# Since ansible-core 2.20; before, each result has its invocation.
HAS_INVOCATION_SETTING = "INJECT_INVOCATION" in constants.config.get_configuration_definitions()


class _NoClientError(Exception):
    """A client could not be made. :param details: the values in the module's result besides the message."""

    def __init__(self, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.details = details


class PluginCall(AWSPluginBase):  # type: ignore[misc]  # ansible comes without types
    """The call for the work of a module inside Ansible, based on the support of amazon.aws for plug-ins."""

    def __init__(self, name: str, params: dict[str, Any], *, check_mode: bool, diff_mode: bool) -> None:
        self.ansible_name, self.params, self.check_mode, self.diff_mode = name, params, check_mode, diff_mode
        self.warnings: list[str] = []

    def get_options(self) -> dict[str, Any]:
        return self.params

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def fail_aws(self, message: str, exception: Exception | None = None) -> NoReturn:
        """End the work as ``AnsibleAWSModule`` does, with its message."""
        if exception:
            raise _NoClientError(explain_connection(f"{message}: {exception}"), gather_sdk_versions())
        text = str(message).replace(" plugin requires a region", " module requires a region")
        raise _NoClientError(explain_connection(text), {})


class AwsAction(NormalAction):  # type: ignore[misc]  # ansible comes without types
    """Does the work of a module here if Ansible would start this Python for it on this machine."""

    MODULE: Any = None

    @classmethod
    def preload(cls, name: str, *services: str) -> None:
        """Import the module, and read botocore's data for clients of these services. Nothing connects to AWS."""
        if CAN_IMPORT:
            cls.MODULE = import_module(f"ansible_collections.cwagent.iam.plugins.modules.{name}")
            loader = botocore.session.create_loader(None)
            for each in FOR_ALL_CLIENTS:
                loader.load_data(each)
            for service in services:
                for each in FOR_A_CLIENT:
                    loader.load_service_model(service, each)
            # The garbage collection of a worker would write to all memory that it shares with this process, which the
            # system then copies. https://docs.python.org/3/library/gc.html#gc.freeze
            gc.freeze()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work here, or run the module."""
        variables, environment = task_vars or {}, dict[str, Any]()
        if problem := self.fill_options(variables):
            return _refused(problem)
        if no_mappings := self._no_mappings():
            return _refused(f"{' and '.join(no_mappings)} must be a mapping.")
        self._compute_environment_string(environment)
        if self._is_same_here(variables, environment):
            with process_state(environment, self._loader.get_basedir()):
                options = self._validated_options()
                if options:
                    return name_hosts(self.do_work(self.MODULE.work, options, variables), variables)
        return name_hosts(_with_brief_diff(super().run(tmp, task_vars)), variables)

    def fill_options(self, variables: Mapping[str, Any]) -> str:
        """Add the options that variables of a role give. Return why a variable gives none, or an empty text."""
        try:
            fill_task(self, variables)
        except InvalidInput as error:
            return f"{error} Nothing was changed."
        return ""

    def _no_mappings(self) -> list[str]:
        """Return the options that must be mappings and are something else, on which Ansible's own validation raises."""
        spec = self.MODULE.SPEC if self.MODULE else {}
        mappings = {name for name, option in spec.items() if "options" in option and option["type"] == "dict"}
        given = {name: self._task.args[name] for name in sorted(mappings & self._task.args.keys())}
        return [name for name, value in given.items() if not isinstance(value, (dict, str, type(None)))]

    def _is_same_here(self, variables: Mapping[str, Any], environment: Iterable[str]) -> bool:
        """Return whether the module would run on this machine, as this user, with this Python, and without a limit."""
        task, host = self._task, self._task.delegate_to
        of_host = variables.get("ansible_delegated_vars", {}).get(host, {}) if host else variables
        python = self._templar.template(constants.config.get_config_value("INTERPRETER_PYTHON", variables=of_host))
        return bool(
            self.MODULE
            and sys.platform != "darwin"  # a fork there must not look up the proxies of the system, as clients do
            and multiprocessing.parent_process()  # this is a worker
            and self._connection.transport == "local"
            and not self._connection.become
            and not (task.async_val or task.timeout)
            and not constants.DEFAULT_KEEP_REMOTE_FILES
            and (python in DISCOVERED or _is_this_python(str(python)))
            and all(VARIABLE.fullmatch(str(name)) for name in environment)
        )

    @property
    def given_options(self) -> dict[str, Any]:
        """The options of the task as a module gets them in JSON, which is plain data with decrypted vaults."""
        options: dict[str, Any] = json.loads(json.dumps(self._task.args, default=_to_json))
        return options

    def _validated_options(self) -> dict[str, Any]:
        """Return the options of the task; none if they are invalid or unusual, so that the module should handle them.

        Unusual are aliases, which can be deprecated, options that change the module's process, and text with a comma
        for a list, which the module refuses.
        """
        spec = _module.complete_spec(self.MODULE.SPEC)
        try:
            given = self.given_options
        except TypeError:
            return {}
        lists = {name for name, option in spec.items() if option.get("type") == "list"}
        texts = {name for name, value in given.items() if isinstance(value, str) and "," in value}
        if given.keys() - spec.keys() or lists & texts or given.keys() & _environment.ENVIRONMENT_SPEC.keys():
            return {}
        validated = ArgumentSpecValidator(spec, **self.MODULE.RULES).validate(given)
        options: dict[str, Any] = validated.validated_parameters
        return {} if validated.error_messages or options["debug_botocore_endpoint_logs"] else options

    def work_here(
        self,
        work: Callable[[Call], dict[str, Any]],
        variables: Mapping[str, Any],
        tell: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Return the result of work that no module can do. Its options are validated without one.

        :param tell: shows a person the progress, instead of the usual way.
        """
        if not self.MODULE:
            return _refused(
                f"boto3 and the collection amazon.aws are required in the Python that runs Ansible. {sys.executable} "
                "cannot import them. Nothing was changed."
            )
        environment, spec = _proxies(), self.MODULE.SPEC
        self._compute_environment_string(environment)
        validator = ArgumentSpecValidator(_module.complete_spec(spec), **self.MODULE.RULES)
        try:
            given = self.given_options
            validated = validator.validate(given)
        except TypeError as error:
            return _refused(f"A value cannot be an option of a module: {error}.")
        # Ansible would turn a text into a list.
        lists = {name for name, option in spec.items() if option["type"] == "list"}
        no_lists = sorted(name for name in lists & given.keys() if not isinstance(given[name], list))
        problems = [*validated.error_messages, *(f"{name} must be a list" for name in no_lists)]
        if problems:
            return _refused(f"{'. '.join(problems)}.")
        with process_state(environment, self._loader.get_basedir()):
            return self.do_work(work, validated.validated_parameters, variables, tell)

    def do_work(
        self,
        work: Callable[[Call], dict[str, Any]],
        options: dict[str, Any],
        variables: Mapping[str, Any],
        tell: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Return the result of the work of the module.

        :param tell: shows a person the progress, instead of the usual way.
        """
        call = PluginCall(self._task.action, options, check_mode=self._task.check_mode, diff_mode=self._task.diff)
        tell = tell or functools.partial(say, variables.get("inventory_hostname"))
        shown = (lambda _text: None) if self._task.no_log else tell
        # Ansible reads a result from the output of a module, and shows nothing else of it.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            result = perform(work, call, self.MODULE.SPEC, shown)
        if not HAS_INVOCATION_SETTING or constants.config.get_config_value("INJECT_INVOCATION", variables=variables):
            result["invocation"] = hide(self.MODULE.SPEC, options, {"module_args": options})
        return _with_brief_diff(result)


def name_hosts(result: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result whose message lists the hosts of its instances in the inventory."""
    names = hosts_of_instances([str(result.get("msg", ""))], variables) if result.get("failed") else {}
    if not names:
        return result
    listed = [f"{instance_id} is {host}" for instance_id, host in sorted(names.items())]
    message = str(result["msg"]).rstrip(". ")
    return {**result, "msg": f"{message}. In the inventory, {join_first(listed, MAX_NAMED)}."}


def _with_brief_diff(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result whose diff has few lines. Its secrets are already hidden, which escaped characters prevent."""
    diff = result.get("diff")
    return {**result, "diff": [*map(to_lines, diff)] if isinstance(diff, list) else to_lines(diff)} if diff else result


def _proxies() -> dict[str, Any]:
    """Return a variable that keeps clients from looking up the proxies of macOS, which a fork there must not do."""
    return {"no_proxy": "*"} if sys.platform == "darwin" and not getproxies_environment() else {}


def _refused(message: str) -> dict[str, Any]:
    return {"failed": True, "msg": to_message(message)}


def _is_this_python(path: str) -> bool:
    """Return whether a path is this Python, which can have several names in its folder.

    The real path alone does not tell, because the Python of a virtual environment is a link to the system's.
    """
    given, here = Path(path), Path(sys.executable)
    return given.parent == here.parent and given.resolve() == here.resolve()


def perform(
    work: Callable[[Call], dict[str, Any]], call: PluginCall, spec: dict[str, Any], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Return the result of a module, whose work is done in this process.

    :param spec: the spec of the module, whose secrets are hidden in the result.
    :param tell: shows a person the progress.
    """
    try:
        with plan.shown(plan.Progress(tell)):
            call.require_aws_sdk()
            result = _call.outcome(work, call)
    except _NoClientError as error:
        result = {"failed": True, "msg": str(error), **error.details}
    except Exception as error:  # noqa: BLE001  a module would end with a traceback
        result = {"failed": True, "msg": f"MODULE FAILURE: {error}", "exception": traceback.format_exc(), "rc": 1}
    if not call.diff_mode:
        result.pop("diff", None)
    if warnings := [*call.warnings, *result.pop("warnings", ())]:
        result["warnings"] = warnings
    return hide(spec, call.params, result)


def hide(spec: dict[str, Any], options: Mapping[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Return a result as JSON has it, without the secrets of the options."""
    hidden = _hidden_values(_module.complete_spec(spec), options)
    as_json: dict[str, Any] = json.loads(json.dumps(result))
    kept = {key: value for key, value in as_json.items() if value is None or isinstance(value, bool)}
    return {**remove_values(as_json, hidden), **kept}


@contextmanager
def process_state(environment: Mapping[str, Any], folder: str) -> Iterator[None]:
    """Set the environment and folder of this process as for a module, and restore them for a loop's next item."""
    earlier, earlier_folder = dict(os.environ), os.getcwd()  # noqa: PTH109  it is restored as it is
    earlier_level = logging.root.manager.disable
    logging.disable()  # Ansible's log file would contain boto3's messages
    os.environ.update({name: str(value) for name, value in environment.items()})
    os.chdir(folder)
    try:
        yield
    finally:
        logging.disable(earlier_level)
        os.chdir(earlier_folder)
        os.environ.clear()
        os.environ.update(earlier)


def _to_json(value: Any) -> Any:
    """Return the form in JSON of a value from YAML or a vault. :raises TypeError: JSON has no equal value."""
    if isinstance(value, (bytes, set)):
        return json.JSONEncoder().default(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _hidden_values(spec: Mapping[str, Any], options: Mapping[str, Any]) -> set[str]:
    """Return the values of all options that must never appear in output, as ``AnsibleModule`` finds them."""
    found: set[str] = set()
    for name, option in spec.items():
        value = options.get(name)
        if option.get("no_log") and value:
            found |= set(_texts(value))
        elif option.get("options") and value:
            for each in value if isinstance(value, list) else [value]:
                found |= _hidden_values(option["options"], each)
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif value not in (None, "") and not isinstance(value, bool):
        yield str(value)
