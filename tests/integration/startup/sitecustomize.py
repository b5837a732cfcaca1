"""Makes the modules of a playbook run start faster; Python imports this file when it starts.

Where a server forks modules (../fork_server.py), the module is run there, and this process only waits for its end.

Ansible sends a module as an archive of source files, and Python compiles all of them each time a module runs, which is
a sixth of the time of a run. The runs of a test session share the compiled code, by its source and path.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import socket
import sys
import zipimport
from pathlib import Path

# Python offers no hook for this; without the function, the modules only start more slowly.
compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def load_or_compile(path, source):
    """Return the code of a file in an archive, compiled now or by an earlier run."""
    # The folder in which Ansible unpacks differs with each run; the path within the archive does not.
    digest = hashlib.sha256(path.rpartition(".zip")[2].encode() + b"\0" + source).hexdigest()
    saved = Path(os.environ["SHARED_BY_RUNS"], f"{sys.implementation.cache_tag}-{digest}")
    try:
        return marshal.loads(saved.read_bytes())  # noqa: S302  only the runs of this session can write there
    except (OSError, EOFError, ValueError):
        code = compile_source(path, source)
    unfinished = saved.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(marshal.dumps(code))
    unfinished.replace(saved)
    return code


if "SHARED_BY_RUNS" in os.environ:
    zipimport._compile_source = load_or_compile  # type: ignore[attr-defined]


def run_elsewhere(address):
    """Hand the module over, and end as it ended."""
    umask = os.umask(0)
    os.umask(umask)
    request = {"argv": sys.orig_argv[1:], "environ": dict(os.environ), "folder": str(Path.cwd()), "umask": umask}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        code = connection.recv(1)
    os._exit(code[0] if code else 137)


if "FORK_SERVER" in os.environ and "AnsiballZ_" in sys.orig_argv[-1]:
    run_elsewhere(os.environ["FORK_SERVER"])
