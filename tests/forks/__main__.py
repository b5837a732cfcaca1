"""``python -m forks COMMAND``: run a command that finds these programs first on its PATH."""

from __future__ import annotations

import os
import subprocess
import sys

from . import on_path

path = os.pathsep.join([str(on_path.folder()), os.environ["PATH"]])
sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "PATH": path}, check=False).returncode)
