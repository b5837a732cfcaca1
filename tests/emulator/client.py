"""Starting an emulator and talking to it from a test, a demo or a shell."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.request import ProxyHandler, Request, build_opener

from .environment import clean_environment
from .host import Host
from .unkind import DELAY_SECONDS, Behaviour
from .wire import Call, Fault

BACKENDS = ("ministack", "moto")
START_SECONDS = 180
END_SECONDS = 120
IMAGE = "ami-0abcdef1234567890"
_direct = build_opener(ProxyHandler({}))  # never through HTTP_PROXY, which a test may have set


@dataclass
class Emulator:
    """A running emulator. ``process`` is None when another process has started it."""

    backend: str
    endpoint: str
    region: str
    pid: int
    process: subprocess.Popen[str] | None = None

    @classmethod
    def start(
        cls,
        backend: str = "ministack",
        *,
        region: str = "eu-central-1",
        port: int = 0,
        aws_cli: str | None = None,
        log: IO[str] | None = None,
        detach: bool = False,
    ) -> Emulator:
        """Start an emulator and wait until it answers. Unless detached, it ends with this process, killed or not.

        :param aws_cli: the path of the instances' AWS CLI. The default is the environment variable AWS_CLI.
        """
        cli = os.environ.get("AWS_CLI", "") if aws_cli is None else aws_cli
        options = [f"--backend={backend}", f"--region={region}", f"--port={port}", f"--aws-cli={cli}"]
        options += ["--detached"] if detach else []
        # A clean environment, because ministack takes AWS_ACCESS_KEY_ID for its root key.
        environ = {**clean_environment(), "PYTHONPATH": str(Path(__file__).parents[1])}
        process = subprocess.Popen(
            [os.environ.get("EMULATOR_PYTHON", sys.executable), "-P", "-m", "emulator", "serve", *options],
            env=environ,
            text=True,
            stdin=subprocess.DEVNULL if detach else subprocess.PIPE,  # the server ends when this pipe is closed
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
        assert process.stdout
        ready = process.stdout.readline()
        if not ready:
            raise RuntimeError(f"the {backend} emulator ended with {process.wait()} before it was ready")
        return cls(backend, json.loads(ready)["endpoint"], region, process.pid, process)

    @classmethod
    def attach(cls, endpoint: str) -> Emulator:
        """Talk to an emulator that is already running."""
        emulator = cls("", endpoint, "", 0)
        state = emulator._control("GET", "state")
        return cls(state["backend"], endpoint, state["region"], state["pid"])

    def stop(self) -> None:
        """End the emulator and wait until it has ended."""
        if self.process:
            self.process.terminate()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    pipe.close()
            return
        with self.ending():
            os.kill(self.pid, signal.SIGTERM)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Wait until the server has ended, after the body has made it end.

        A child of another process cannot be waited for. But a connection to it ends together with it.
        """
        connection = self._connect()
        yield
        with suppress(ConnectionRefusedError):
            while True:  # a connection can end a moment before the port does
                with connection, suppress(ConnectionResetError):
                    connection.recv(1)
                connection = self._connect()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", int(self.endpoint.rpartition(":")[2])), timeout=END_SECONDS)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def env(self, instance: str = "") -> dict[str, str]:
        """The AWS variables of a client: root's keys, or the metadata endpoint of an instance and no keys."""
        where = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        if instance:
            return {**where, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata_endpoint(instance)}
        return {**where, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    def client(
        self,
        service: str,
        region: str | None = None,
        credentials: Mapping[str, Any] | None = None,
        config: Any = None,
    ) -> Any:
        """A boto3 client; credentials as CreateAccessKey, AssumeRole or ``instance_credentials`` return them."""
        keys = credentials or {"AccessKeyId": "test", "SecretAccessKey": "test"}
        access_key = keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken") or keys.get("Token")
        return _client(service, region or self.region, self.endpoint, access_key, config)

    def instances(self, count: int, stopped: int = 0, region: str | None = None) -> list[str]:
        """Launch instances without a profile, the last ``stopped`` of them stopped."""
        ec2 = self.client("ec2", region)
        launched = ec2.run_instances(ImageId=IMAGE, InstanceType="t3.micro", MinCount=count, MaxCount=count)[
            "Instances"
        ]
        ids = [instance["InstanceId"] for instance in launched]
        if stopped:
            ec2.stop_instances(InstanceIds=ids[-stopped:])
        return ids

    def metadata_endpoint(self, instance: str) -> str:
        return f"{self.endpoint}/_imds/{instance}"

    def metadata(self, instance: str, path: str) -> str:
        """A page below ``latest/``, as the instance itself reads it. Raises HTTPError 404 if there is none."""
        base = f"{self.metadata_endpoint(instance)}/latest"
        life = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _ask(Request(f"{base}/api/token", method="PUT", headers=life))
        return _ask(Request(f"{base}/{path}", headers={"X-aws-ec2-metadata-token": token}))

    def instance_credentials(self, instance: str) -> dict[str, str]:
        """The credentials of the role that the instance sees now."""
        role = self.metadata(instance, "meta-data/iam/security-credentials/")
        return dict(json.loads(self.metadata(instance, f"meta-data/iam/security-credentials/{role}")))

    def mark(self) -> int:
        """The number of the latest call, for ``calls(since=...)``."""
        return int(self._control("GET", "state")["seq"])

    def calls(self, since: int = 0) -> list[Call]:
        return [Call(**record) for record in self._control("GET", f"calls?since={since}")]

    def writes(self, since: int = 0) -> list[Call]:
        return [call for call in self.calls(since) if call.write]

    def arm(self, fault: Fault) -> None:
        if fault.kind.startswith("kill") and fault.process < 2:  # 0 is all, and 1 is init
            raise ValueError("a kill needs the id of the process to end")
        self._control("POST", "faults", asdict(fault))

    def disarm(self) -> None:
        self._control("DELETE", "faults")

    def shift_clock(self, seconds: float) -> None:
        """Move the time of policy conditions, of IAM's dates and of answers. Sessions expire by the real time."""
        self._control("POST", "clock", {"seconds": seconds})

    def now(self) -> datetime:
        """The time of the accounts, as AWS tells it in the header of each answer. It has whole seconds."""
        answer = self.client("sts").get_caller_identity()
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def metadata_lag(self, seconds: float, credentials: float | None = None) -> None:
        """Make instances see a change of their profile this many seconds late, and its credentials this many."""
        lags = {"seconds": seconds, "credentials": seconds if credentials is None else credentials}
        self._control("POST", "lag", lags)

    def be_unkind(
        self, *behaviours: Behaviour, seed: int = 0, seconds: float = DELAY_SECONDS, chance: float | None = None
    ) -> None:
        """Switch these behaviours on and all others off. ``Unkind`` explains the parameters."""
        settings = {"behaviours": behaviours, "seed": seed, "seconds": seconds, "chance": chance}
        self._control("POST", "unkind", settings)

    def agents(self, *instances: str, **settings: Any) -> dict[str, dict[str, Any]]:
        """All SSM agents by instance or node, after these settings were changed for these instances, or for all.

        ``agents.Agent`` explains the settings. An agent also has ``online``, the ``disk`` of its instance, and the
        ``environment`` of a script that runs there.
        """
        found = self._control("POST", "agents", {"instances": instances, "settings": settings})
        return dict(found)

    def host(self, root: Path, *, cloudwatch_agent: bool = False) -> Host:
        """An on-premises host in this folder, with the SSM agent, and perhaps the other one. ``Host`` explains it."""
        host = Host(root.resolve(), self.endpoint)
        host.install(cloudwatch_agent=cloudwatch_agent)
        return host

    def disk(self, instance: str) -> Path:
        return Path(self.agents()[instance]["disk"])

    def commands(self) -> list[dict[str, Any]]:
        """The commands sent with Run Command, the earliest first, with their results on each instance."""
        return list(self._control("GET", "commands"))

    def place(self, metrics: Iterable[Mapping[str, Any]] = (), streams: Iterable[Mapping[str, Any]] = ()) -> None:
        """Add metrics and log streams, as ``Monitoring.place`` explains. The default is the region of the emulator."""
        self._control("POST", "data", {"metrics": [*metrics], "streams": [*streams]})

    def reset(self) -> None:
        """Empty the account: no state, calls, faults, unkind behaviours, clock shift, lag, commands or disks."""
        self._control("POST", "reset")

    def save(self, name: str, *folders: Path) -> None:
        """Save the state of the accounts and machines under a name, with these folders. Only ministack can do that."""
        self._control("POST", "save", {"name": name, "folders": [str(each) for each in folders]})

    def restore(self, name: str) -> None:
        """Return to a saved state and its time, much faster than creating it again. The rest is as after ``reset``."""
        self._control("POST", "restore", {"name": name})

    def _control(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return json.loads(_ask(Request(f"{self.endpoint}/_emulator/{path}", data=data, method=method, headers=headers)))


@cache
def _session() -> Any:
    """One boto3 session, which parses the model of a service once; a fifth of a second for EC2."""
    import boto3

    return boto3.session.Session()


@cache
def _client(service: str, region: str, endpoint: str, access_key: tuple[str, str, str | None], config: Any) -> Any:
    """The client of these settings, which takes longer to make than a call."""
    access_key_id, secret, token = access_key
    return _session().client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=config,
    )


def _ask(request: Request) -> str:
    with _direct.open(request, timeout=START_SECONDS) as answer:
        return str(answer.read().decode())
