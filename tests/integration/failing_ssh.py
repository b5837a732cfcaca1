"""A replacement for ssh: runs commands on this machine until a certain AWS call was made, then fails.

LOST_AFTER is the action of that call, or the instance profile that it associated. Calls up to number LOST_SINCE do not
count.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from emulator import Emulator

UNREACHABLE = 255
HOST_AND_COMMAND = 4


def main() -> int:
    if len(sys.argv) < HOST_AND_COMMAND:
        return 0  # Ansible asks for the options of ssh
    calls = Emulator.attach(os.environ["AWS_ENDPOINT_URL"]).calls(int(os.environ["LOST_SINCE"]))
    if any(os.environ["LOST_AFTER"] in (call.action, call.params.get("IamInstanceProfile.Name")) for call in calls):
        print("ssh: connect to host admin1 port 22: Connection timed out", file=sys.stderr)
        return UNREACHABLE
    return subprocess.call(["/bin/sh", "-c", sys.argv[-1]])


if __name__ == "__main__":
    sys.exit(main())
