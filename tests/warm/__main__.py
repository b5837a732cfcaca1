"""``python -m warm COMMAND``: run a command whose runs of Ansible start faster."""

from __future__ import annotations

import os
import subprocess
import sys

from . import forking

if __name__ == "__main__":
    sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, **forking()}, check=False).returncode)
