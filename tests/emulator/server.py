"""The HTTP server around a backend: call log, faults, instance metadata, Run Command, hybrid servers, control."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import Any, cast

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from . import access_analyzer, hybrid, imds, monitoring, paging, signature, wire
from .agents import Agents
from .backend import ACCOUNT, RUN_COMMAND_ACTIONS, Backend, is_answered_here
from .machines import Machines
from .monitoring import Monitoring
from .run_command import RunCommand
from .state import States
from .unkind import Answer, Behaviour, Unkind
from .wire import Call, Fault, Kind

CONTROL = "/_emulator/"
CONNECTION = "emulator.connection"
ENDLESS = (Kind.DELAY, Kind.RATE)
END_SECONDS = 20
"""How long to wait for the end of a process that ends with a killed one."""
SIGNALS = {
    Kind.INTERRUPT: signal.SIGINT,
    Kind.INTERRUPT_TWICE: signal.SIGINT,
    Kind.TERMINATE: signal.SIGTERM,
    Kind.HANG_UP: signal.SIGHUP,
}
PERSON_SECONDS = 0.3
"""How soon a person who sees no effect presses Ctrl-C again."""


class LostAnswerError(ConnectionAbortedError):
    """Ends a connection without an answer. werkzeug treats it like a client that disconnected."""


class KilledError(LostAnswerError):
    """A fault has killed a process, and the process that made the call ends with it."""


@dataclass
class ArmedFault:
    fault: Fault
    matched: int = 0
    left: float = 0
    tokens: float = 0
    refilled: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = self.fault.times or (math.inf if self.fault.kind in ENDLESS else 1)
        self.tokens = self.fault.burst

    def hits(self, call: Call) -> bool:
        if not self.fault.matches(call):
            return False
        self.matched += 1
        if self.matched < self.fault.nth or self.left <= 0 or (self.fault.kind == Kind.RATE and self._takes_token()):
            return False
        self.left -= 1
        return True

    def _takes_token(self) -> bool:
        """Whether the token bucket had a token for this call."""
        now = time.monotonic()
        self.tokens = min(self.fault.burst, self.tokens + (now - self.refilled) * self.fault.rate)
        self.refilled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Server:
    """A WSGI application. AWS calls run in parallel. One lock guards the state that they share."""

    def __init__(self, backend: Backend, name: str, region: str, aws_cli: str) -> None:
        self.backend, self.name, self.region = backend, name, region
        self.unkind = self._unkind()
        self.metadata = imds.InstanceMetadata(backend, self._has_credentials)
        self.machines = Machines(aws_cli)
        self.hybrid = hybrid.Hybrid()
        self.agents = Agents(backend, self.metadata, self.machines, self._is_delayed, self.hybrid)
        backend.node_tags = self.hybrid.tags
        self.commands = RunCommand(self.agents)
        self.monitoring = Monitoring(region, self.agents.now)
        self.states = States(backend, self.agents, self.metadata, self.hybrid, self.monitoring)
        self.lock = threading.Lock()
        self.calls: list[Call] = []
        self.seq = 0
        self.armed: list[ArmedFault] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._route(request)
        except LostAnswerError as error:
            connection: socket.socket = environ["werkzeug.socket"]
            if isinstance(error, KilledError):
                _wait_for_end(connection)
            connection.shutdown(socket.SHUT_RDWR)
            raise
        return response(environ, start_response)

    def _route(self, request: Request) -> Response:
        if request.path.startswith(CONTROL):
            return self._control(request)
        if request.path.startswith(imds.PREFIX):
            return self.metadata.respond(request)
        if request.full_path == "/?" and "Authorization" not in request.headers:
            return Response(status=404)  # not a call: a program finds out whether the endpoint answers
        return self._aws(request)

    def _aws(self, request: Request) -> Response:
        body = request.get_data(cache=False)
        request.environ["wsgi.input"] = io.BytesIO(body)
        access_key, region, service = wire.read_credential(request.headers.get("Authorization", ""))
        # A GET of the query protocol has its parameters in the address.
        params = wire.read_params(request.content_type or "", body or request.query_string)
        action = wire.read_target(request.headers, request.path, params)
        principal = "" if action == hybrid.REGISTER else self.backend.principal(access_key, region or self.region)
        call = Call(
            service,
            action,
            region,
            access_key,
            principal,
            wire.without_secrets(params),
            connection=request.environ[CONNECTION],
            is_query="Version" in params,
        )
        with self.lock:
            self.seq += 1
            call = replace(call, seq=self.seq, time=time.time())
            hits = [armed.fault for armed in self.armed if armed.hits(call)]
        call = replace(call, fault=",".join(fault.kind for fault in hits))
        response = self._before(hits, call) or self._refuse_signature(request, body, call)
        if response is None:
            behaviour, answer = self.unkind.refuse(call, params)
            if answer is not None:
                call = replace(call, unkind=behaviour)
                response = Response(answer.body, answer.status, content_type=answer.content_type)
        if response is None:
            response = self._respond(call, params, request, body)
            self.backend.used(access_key, region, service)
            if service == "ec2" and call.write:
                self.metadata.observe()
                if "IamInstanceProfile" in action:
                    call = replace(call, profiles=self._profiles())
            if action in paging.PAGED.get(service, ()) and response.status_code == 200:
                response.set_data(paging.page(service, response.get_data(), params))
            answer = Answer(response.get_data(), response.status_code, response.content_type or "")
            self.unkind.observe(call, params, answer)
            if call.write and (service == "ec2" or action in RUN_COMMAND_ACTIONS):
                self.commands.observe()
        error = wire.read_error(response.content_type or "", response.status_code, response.get_data())
        self._log(replace(call, status=response.status_code, error=error))
        self._after(hits)
        return response

    def _refuse_signature(self, request: Request, body: bytes, call: Call) -> Response | None:
        """Refuse a signature that AWS would refuse. No backend knows the keys of the SSM agent."""
        secret = self.backend.secret(call.access_key, call.region or self.region)
        problem = signature.find_problem(request, body, secret) if secret else ""
        return _to_response(wire.badly_signed(call, problem), call) if problem else None

    def _respond(self, call: Call, params: dict[str, Any], request: Request, body: bytes) -> Response:
        if ended := self.hybrid.refuse(call):
            return _to_response(ended, call)
        if call.action == access_analyzer.VALIDATE:
            return _to_response(access_analyzer.respond(params, request.args.get("nextToken", "")), call)
        if call.action in monitoring.ACTIONS.get(call.service, ()):
            # The backend does not know the log groups.
            denied = self.backend.authorize(request, body)
            if denied and not denied.get_data().count(b"ResourceNotFound"):
                return denied
            found = self.monitoring.respond(call, params, request.content_type or "")
            if isinstance(found, wire.ErrorAnswer):
                return _to_response(found, call)
            return Response(found[1], content_type=found[0])
        if call.service != "ssm" or not is_answered_here(call.action, params):
            response = self.backend.respond(request, body)
            if call.action in monitoring.PUTS.get(call.service, ()) and response.status_code == 200:
                self.monitoring.put(call, params, request.content_type or "")
            if call.action == "DescribeInstances":
                response.set_data(self.agents.show_windows(response.get_data()))
            return response
        if call.action != hybrid.REGISTER and (denied := self.backend.authorize(request, body)):
            return denied
        service = self.commands if call.action in RUN_COMMAND_ACTIONS else self.hybrid
        return _to_response(service.respond(call, params), call)

    def _profiles(self) -> dict[str, str]:
        return {
            one.id: one.profile.arn.rpartition("/")[2] for one in self.backend.instances() if one.profile is not None
        }

    def _log(self, call: Call) -> None:
        with self.lock:
            self.calls.append(call)

    def _before(self, hits: list[Fault], call: Call) -> Response | None:
        """Apply faults before the backend gets the call. With a returned answer, the backend does not get it."""
        for fault in hits:
            if fault.kind == Kind.DELAY:
                time.sleep(fault.seconds)  # the purpose of this fault
            elif fault.kind in SIGNALS:
                _signal(fault)
            elif fault.kind == Kind.KILL_BEFORE:
                self._log(call)
                _kill(fault.process)
                raise KilledError
            elif error := _error_answer(fault, call):
                return _to_response(error, call)
        return None

    def _after(self, hits: list[Fault]) -> None:
        for fault in hits:
            if fault.kind == Kind.KILL_WORKER:
                for worker in _children(fault.process):
                    _send(worker, signal.SIGKILL)
                raise KilledError
            if fault.kind == Kind.KILL_AFTER:
                _kill(fault.process)
                raise KilledError
            if fault.kind == Kind.LOSE_ANSWER:
                raise LostAnswerError

    def _control(self, request: Request) -> Response:
        body = request.get_json(silent=True) or {}
        controls: dict[str, Callable[[], Any]] = {
            "GET state": lambda: {"pid": os.getpid(), "backend": self.name, "region": self.region, "seq": self.seq},
            "GET calls": lambda: self._calls_since(int(request.args.get("since", 0))),
            "POST faults": lambda: self.armed.append(ArmedFault(Fault(**body))),
            "DELETE faults": self.armed.clear,
            "POST clock": lambda: self._shift_clock(float(body["seconds"])),
            "POST lag": lambda: self.metadata.set_lag(float(body["seconds"]), float(body["credentials"])),
            "POST agents": lambda: self.agents.configure(body["instances"], body["settings"]),
            "POST service": lambda: self.hybrid.start(**body),
            "GET commands": self.commands.commands,
            "POST sending": lambda: self._let_send(body) if body else None,
            "POST data": lambda: self.monitoring.place(**body),
            "POST unkind": lambda: setattr(self, "unkind", self._unkind(**body)),
            "POST reset": self._reset,
            "POST save": lambda: self.states.save(**body),
            "POST restore": lambda: self.states.restore(body["name"], self._reset),
        }
        control = controls.get(f"{request.method} {request.path.removeprefix(CONTROL)}")
        if control is None:
            return Response("no such control", 404)
        try:
            with self.lock:
                return Response(json.dumps(control()), content_type="application/json")
        except NotImplementedError as error:
            return Response(str(error), 501)

    def _calls_since(self, since: int) -> list[dict[str, Any]]:
        return [asdict(call) for call in sorted(self.calls, key=lambda call: call.seq) if call.seq > since]

    def _shift_clock(self, seconds: float) -> None:
        self.backend.shift_clock(seconds)
        self.hybrid.advance()

    def _let_send(self, report: dict[str, Any]) -> None:
        """Let an agent send. Only the accounts know in which one its instance is."""
        accounts = {each.id: (each.account, each.region) for each in self.agents.instances()}
        account, region = accounts.get(report["instance"], (ACCOUNT, report["region"] or self.region))
        self.monitoring.start({**report, "account": account, "region": region})

    def _reset(self) -> None:
        self.backend.reset()
        self.hybrid.reset()
        self.metadata.reset()
        self.commands.reset()
        self.monitoring.reset()
        self.calls, self.armed, self.seq = [], [], 0
        self.unkind = self._unkind()

    def _has_credentials(self, instance: str) -> bool:
        return not self.unkind.is_delayed(Behaviour.UNAUTHORIZED_ROLES, instance)

    def _is_delayed(self, behaviour: Behaviour, name: str) -> bool:
        return self.unkind.is_delayed(behaviour, name)

    def _unkind(self, **behaviours: Any) -> Unkind:
        return Unkind(lambda: self.backend.now().timestamp(), **behaviours)


def _to_response(answer: dict[str, Any] | wire.ErrorAnswer, call: Call) -> Response:
    if isinstance(answer, wire.ErrorAnswer):
        content_type, text = answer.body(call)
        return Response(text, answer.status, content_type=content_type)
    return Response(json.dumps(answer), content_type="application/x-amz-json-1.1")


def _error_answer(fault: Fault, call: Call) -> wire.ErrorAnswer | None:
    match fault.kind:
        case Kind.THROTTLE | Kind.RATE:
            return wire.throttled(call)
        case Kind.DENY:
            return wire.denied(call)
        case Kind.SERVER_ERROR:
            return wire.failed(call)
        case Kind.ERROR:
            return wire.ErrorAnswer(fault.code, fault.message, fault.status)
    return None


def _signal(fault: Fault) -> None:
    """Send the signals of a fault. Nothing is sent to a process that has ended."""
    send = os.kill if fault.kind == Kind.TERMINATE else os.killpg
    with contextlib.suppress(ProcessLookupError):
        send(fault.process, SIGNALS[fault.kind])
        if fault.kind == Kind.INTERRUPT_TWICE:
            time.sleep(PERSON_SECONDS)
            send(fault.process, SIGNALS[fault.kind])


def _kill(process: int) -> None:
    """Kill a process and its descendants, as when the machine fails. Ansible's workers have their own sessions."""
    if os.getpid() in _send_to_tree(process, 0):
        raise ValueError("an emulator does not kill itself")
    # A process that is only killed could have forked another one a moment before, which would live on.
    for pid in _send_to_tree(process, signal.SIGSTOP):
        _send(pid, signal.SIGKILL)


def _send_to_tree(process: int, number: int) -> list[int]:
    """Send a signal to a process, and then to its descendants. The signal 0 does nothing. :returns: all of them."""
    processes = [process]
    for pid in processes:
        _send(pid, number)
        processes += _children(pid)
    return processes


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
        os.kill(process, number)


def _wait_for_end(connection: socket.socket) -> None:
    """Wait until the other end of a connection is closed.

    A killed process ends a moment later, and must not call again.
    """
    connection.settimeout(END_SECONDS)
    with contextlib.suppress(OSError):  # it is another process, which lives on
        connection.recv(1)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            fields = stat.read_text().rpartition(")")[2].split()  # the name before it can contain spaces
            if int(fields[1]) == parent:
                found.append(int(stat.parent.name))
    return found


class Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True  # head and body are two writes, which would cost 40 ms per call
    timeout = None
    numbers = count(1)

    def setup(self) -> None:
        super().setup()
        self.number = next(self.numbers)

    def make_environ(self) -> dict[str, Any]:
        return {**super().make_environ(), CONNECTION: self.number}

    def run_wsgi(self) -> None:
        """Answer one request and keep the connection open, as AWS does. werkzeug would close it after every answer."""
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        try:
            response = Response.from_app(self.server.app, environ, buffered=True)
        except LostAnswerError:
            self.close_connection = True
            return
        except Exception:
            logging.getLogger(__name__).exception("%s failed", self.requestline)
            response = Response("the emulator failed", 500)
        body = response.get_data()
        response.content_length = len(body)
        self.send_response(response.status_code)
        for name, value in response.headers:
            if name not in ("Date", "Server"):  # send_response sends its own
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, by the clock of the backend."""
        return format_datetime(cast("Server", self.server.app).backend.now(), usegmt=True)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing: calls are in the call log."""


def serve(name: str, region: str, port: int, aws_cli: str, announce: Callable[[int], None]) -> None:
    """Serve until the process ends; ``announce`` is called with the port when calls are answered."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    backend: Backend
    if name == "moto":
        from .backend_moto import Moto

        backend = Moto(region)
    else:
        from .backend_ministack import Ministack

        backend = Ministack(region)
    app = Server(backend, name, region, aws_cli)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler)
    app.machines.endpoint = f"http://127.0.0.1:{server.server_port}"
    announce(server.server_port)
    server.serve_forever()
