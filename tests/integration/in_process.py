"""Does the work of modules and transactions in this process, as their actions do inside Ansible.

Credentials and endpoints are options, and nothing of the process is left changed. Anything that needs a signal, a
killed process or Ansible itself runs in a fork instead: ``harness.execute_module`` and ``harness.Controller``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from emulator import Emulator, Fault
from emulator.host import Host
from forks.clients import check_maximums, share_classes
from harness import execute_module

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import complete_spec
from ansible_collections.cwagent.iam.plugins.module_utils._ground.guard import NoGuard
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import PluginCall, perform
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.host_result import expect_result

COLLECTION = "ansible_collections.cwagent.iam.plugins"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
Tell = Callable[[str], None]
Send = Callable[[str, dict[str, Any], bool], dict[str, Any]]
"""Runs a module on a host: its name, its options, and whether this is check mode."""


def _let_plugins_be_found() -> None:
    """Let Ansible find the lookup of saved keys with its documentation: beside a file of a package, which has none."""
    for name in ("cwagent.iam.plugins.lookup", "cwagent.iam.plugins.doc_fragments", "amazon.aws.plugins.doc_fragments"):
        package = import_module(f"ansible_collections.{name}")
        package.__file__ = package.__file__ or str(Path(package.__path__[0]) / "__init__.py")


_let_plugins_be_found()
share_classes()
check_maximums()


def aws_options(aws: Emulator, credentials: Mapping[str, str] | None = None) -> dict[str, str]:
    """The options that lead a module to the emulator. :param credentials: environment variables; root's by default."""
    keys = {**aws.env(), **(credentials or {})}
    options = {
        "endpoint_url": aws.endpoint,
        "region": keys["AWS_REGION"],
        "access_key": keys["AWS_ACCESS_KEY_ID"],
        "secret_key": keys["AWS_SECRET_ACCESS_KEY"],
    }
    return {**options, **({"session_token": keys["AWS_SESSION_TOKEN"]} if "AWS_SESSION_TOKEN" in keys else {})}


def run_module(
    aws: Emulator,
    name: str,
    /,
    *faults: Mapping[str, Any],
    check: bool = False,
    diff: bool = True,
    credentials: Mapping[str, str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """The result of a module of the collection, with ``failed`` and ``warnings`` always.

    :param faults: disturb its calls, and are disarmed afterwards.
    """
    module = import_module(f"{COLLECTION}.modules.{name}")
    given = {**aws_options(aws, credentials), **options}
    # The module of an action that works with boto3 is for hosts, which have none.
    work = getattr(module, "work", None) or import_module(f"{COLLECTION}.action.{name}").work
    call = PluginCall(f"cwagent.iam.{name}", given, check_mode=check, diff_mode=diff)
    return _perform(aws, faults, module, work, call)


def transact(
    aws: Emulator,
    name: str,
    send: Send,
    /,
    *faults: Mapping[str, Any],
    host: str = "admin1",
    check: bool = False,
    credentials: Mapping[str, str] | None = None,
    tell: Tell = lambda _text: None,
    folder: Path = Path(),
    **options: Any,
) -> dict[str, Any]:
    """The result of a transaction, ``cwagent_store_config`` or ``cwagent_hybrid_node``, as ``run_module`` returns it.

    :param send: does the host's part, such as ``on_instance``.
    :param folder: has the files that the options name.
    """
    module = import_module(f"{COLLECTION}.modules.{name}")
    given = {**aws_options(aws, credentials), **options}
    action = _action(name, given, send, check, folder)
    work = partial(action.transact, {"inventory_hostname": host}, Calm(), tell)
    call = PluginCall(f"cwagent.iam.{name}", given, check_mode=check, diff_mode=True)
    return _perform(aws, faults, module, work, call)


class Calm:
    """An ``Interruption`` that no signal causes, so that threads can run transactions beside each other."""

    has_come = False
    guardian = NoGuard()

    def handled(self) -> AbstractContextManager[None]:
        return nullcontext()

    def shield(self) -> AbstractContextManager[None]:
        return nullcontext()


def on_instance(aws: Emulator, instance: str, is_reachable: Callable[[], bool] = lambda: True) -> Send:
    """Runs modules on an instance, with its metadata and without the controller's credentials."""
    return _sender(aws, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **aws.env(instance)}, is_reachable)


def on_host(aws: Emulator, host: Host, is_reachable: Callable[[], bool] = lambda: True) -> Send:
    """Runs modules on an on-premises host, with its programs and without the controller's credentials."""
    return _sender(aws, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", **host.environment}, is_reachable)


def _sender(aws: Emulator, environment: Mapping[str, str], is_reachable: Callable[[], bool]) -> Send:
    """Runs each module in a process, because it has the environment of the host."""

    def send(module: str, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
        if not is_reachable():
            raise AnsibleConnectionFailure("the host is unreachable")
        name = module.rpartition(".")[2]
        if name in BUILTIN:
            return BUILTIN[name](arguments)
        modes = {"_ansible_check_mode": check, "_ansible_diff": True}
        result = execute_module(aws, name, {**arguments, **modes}, env=environment, may_be_killed=True)
        if result["code"] < 0:
            return {"failed": True, "msg": "MODULE FAILURE", "rc": result["code"]}  # as Ansible reports it
        found = {key: value for key, value in result.items() if key not in ("code", "stdout", "text", "invocation")}
        return expect_result(module, json.loads(json.dumps(found), cls=_decoder()))

    return send


def _decoder() -> Any:
    """How Ansible reads the result of a module: its warnings are objects, since ansible-core 2.19."""
    try:
        from ansible.module_utils.common.json import Direction, get_module_decoder
    except ImportError:
        return None
    return get_module_decoder("legacy", Direction.MODULE_TO_CONTROLLER)


def _slurp(arguments: dict[str, Any]) -> dict[str, Any]:
    file = Path(arguments["src"])
    return {"content": base64.b64encode(file.read_bytes()).decode()} if file.is_file() else {"failed": True}


BUILTIN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "ping": lambda _arguments: {"ping": "pong"},
    "stat": lambda arguments: {"stat": {"exists": Path(arguments["path"]).exists()}},
    "slurp": _slurp,
}


def _action(name: str, given: Mapping[str, Any], send: Send, check: bool, folder: Path) -> Any:
    """The action of a transaction, whose connection leads to ``send``."""
    base: Any = import_module(f"{COLLECTION}.action.{name}").ActionModule

    class Action(base):
        def __init__(self) -> None:
            """Leave out what Ansible gives to an action."""

        def send(self, module: str, arguments: dict[str, Any], _variables: object) -> dict[str, Any]:
            return send(module, arguments, self._task.check_mode)

        def _is_pipelining_enabled(self, *_style: object) -> bool:
            return True

        def enable_pipelining(self) -> None:
            """No connection needs it."""

    action: Any = Action()
    action._connection = SimpleNamespace(become=None, has_pipelining=True)
    action._task = SimpleNamespace(args=dict(given), check_mode=check, diff=True, delegate_to=None)
    action._loader = DataLoader()
    action._templar = Templar(action._loader)
    action._folders = [folder]
    return action


def _perform(
    aws: Emulator, faults: Sequence[Mapping[str, Any]], module: Any, work: Callable[[Any], dict[str, Any]], call: Any
) -> dict[str, Any]:
    """Validate the options of a call, and do its work while the faults are armed."""
    given = {name: value for name, value in call.params.items() if value is not None}
    validated = ArgumentSpecValidator(complete_spec(module.SPEC), **module.RULES).validate(given)
    if validated.error_messages:
        return {"failed": True, "changed": False, "warnings": [], "msg": ". ".join(validated.error_messages)}
    call.params = validated.validated_parameters
    for fault in faults:
        aws.arm(Fault(**fault))
    with unchanged_process():
        result = perform(work, call, module.SPEC, lambda _text: None)
    if faults:
        aws.disarm()
    assert "exception" not in result, result["exception"]
    return {"failed": False, "warnings": [], **result}


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Assert that the body leaves the environment, folder, logging, streams and signal handlers as they were."""

    def read() -> tuple[Any, ...]:
        handlers = [signal.getsignal(each) for each in SIGNALS]
        root = logging.getLogger()
        streams = sys.stdin, sys.stdout, sys.stderr
        return dict(os.environ), Path.cwd(), root.manager.disable, root.level, [*root.handlers], streams, handlers

    before = read()
    yield
    assert read() == before
