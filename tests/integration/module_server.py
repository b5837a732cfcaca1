"""Runs modules like module_process.py, each in a fork of this process, which has imported their dependencies.

It reads one JSON object per line: the module's file, its arguments, the environment, and the file for its output. It
answers with the id of the new process, waits for another line before the module begins, and answers with its exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import boto3
from ansible.module_utils.testing import patch_module_args


def run(request: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(request["env"])
    with Path(request["output"]).open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    with patch_module_args(request["arguments"]), contextlib.suppress(SystemExit):
        runpy.run_path(request["file"], run_name="__main__")
    sys.stdout.flush()


for service in ("ec2", "iam", "secretsmanager", "ssm", "sts"):
    boto3.client(service, region_name="us-east-1")
for line in sys.stdin:
    begin, begin_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begin_writer)
        os.read(begin, 1)
        run(json.loads(line))
        os._exit(0)
    os.close(begin)
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
    sys.stdin.readline()
    os.close(begin_writer)
    sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
    sys.stdout.flush()
