"""Real HTTP AWS emulators on 127.0.0.1, with a call log, faults, instance metadata and Run Command.

    with Emulator.start("ministack") as aws:
        [instance] = aws.instances(1)
        aws.client("iam").create_user(UserName="web-1")
        assert [call.action for call in aws.writes()] == ["RunInstances", "CreateUser"]

There are two backends: ``ministack`` enforces IAM; ``moto`` covers more of IAM and EC2 and knows the other
partitions.
On a shell: ``python -m emulator start --backend moto --state-file F``.
"""

from __future__ import annotations

from .client import Emulator
from .environment import NO_METADATA, program_environment
from .unkind import AS_AWS, Behaviour
from .wire import Call, Fault, Kind, is_write

__all__ = ["AS_AWS", "NO_METADATA", "Behaviour", "Call", "Emulator", "Fault", "Kind", "is_write", "program_environment"]
