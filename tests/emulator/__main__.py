"""``python -m emulator start|stop|calls --state-file F``, and ``serve``, which ``start`` runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from .client import BACKENDS, Emulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="emulator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "serve", "stop", "calls"):
        command = commands.add_parser(name)
        if name != "serve":
            command.add_argument("--state-file", type=Path, required=True)
        if name in ("start", "serve"):
            command.add_argument("--backend", choices=BACKENDS, default="ministack")
            command.add_argument("--region", default="eu-central-1")
            command.add_argument("--port", type=int, default=0, help="0 for any free port")
            command.add_argument("--aws-cli", default=os.environ.get("AWS_CLI", ""), help="AWS CLI of the instances")
        if name == "start":
            command.add_argument("--instances", type=int, default=0)
            command.add_argument("--stopped", type=int, default=0, help="how many of the instances are stopped")
        if name == "serve":
            command.add_argument("--detached", action="store_true", help="outlive the process that started it")
        if name == "calls":
            command.add_argument("--since", type=int, default=0)
    args = parser.parse_args()
    {"start": start, "serve": serve, "stop": stop, "calls": calls}[args.command](args)


def start(args: argparse.Namespace) -> None:
    written = args.state_file.with_suffix(".log")
    try:
        with written.open("w") as log:
            aws = Emulator.start(
                args.backend, region=args.region, port=args.port, aws_cli=args.aws_cli, log=log, detach=True
            )
    except RuntimeError as error:  # the port is taken, for example
        sys.exit(f"Could not start: {error}. See {written}.")
    ids = aws.instances(args.instances, stopped=args.stopped) if args.instances else []
    state = {
        "pid": aws.pid,
        "backend": aws.backend,
        "region": aws.region,
        "endpoint": aws.endpoint,
        "port": int(aws.endpoint.rpartition(":")[2]),
        "env": aws.env(),
        "instances": [{"id": one, "metadata_endpoint": aws.metadata_endpoint(one)} for one in ids],
    }
    text = json.dumps(state, indent=2)
    args.state_file.write_text(text + "\n")
    print(text)


def stop(args: argparse.Namespace) -> None:
    if not args.state_file.exists():
        return  # stopping twice is allowed
    state = json.loads(args.state_file.read_text())
    try:
        running = Emulator.attach(state["endpoint"])
    except OSError:
        running = None
    if running and running.pid == state["pid"]:
        running.stop()
    args.state_file.unlink()


def calls(args: argparse.Namespace) -> None:
    aws = Emulator.attach(json.loads(args.state_file.read_text())["endpoint"])
    for call in aws.calls(args.since):
        print(json.dumps(asdict(call)))


def serve(args: argparse.Namespace) -> None:
    from . import server

    if not args.detached:
        threading.Thread(target=_end_with_parent, daemon=True).start()

    def announce(port: int) -> None:
        print(json.dumps({"endpoint": f"http://127.0.0.1:{port}"}), flush=True)
        os.dup2(2, 1)  # the starter reads one line only; everything else goes to the log

    server.serve(args.backend, args.region, args.port, args.aws_cli, announce)


def _end_with_parent() -> None:
    """End when the starter ends: until then it keeps the other end of stdin open."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
