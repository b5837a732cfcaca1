"""Lets a run hand its modules to the server that forks them, where Ansible starts a shell that starts a Python.

Only modules that are sent to a Python of this machine, as with pipelining, and as the same user.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

from ansible.plugins.connection import ConnectionBase
from ansible.plugins.connection.local import Connection
from ansible.utils.display import Display
from fork_client import run_elsewhere  # type: ignore[import-not-found]  # it is on the path of such runs


def read_environment(command):
    """Return the variables that a command sets for the module that it starts, or None where it is another command."""
    words = shlex.split(command)
    if words[:2] != ["/bin/sh", "-c"] or len(words) != 3:
        return None
    *assignments, python = shlex.split(words[2])
    if python != sys.executable or not all(re.match(r"\w+=", each) for each in assignments):
        return None
    return dict(each.split("=", 1) for each in assignments)


def hand_over_modules(address):
    """Hand over the modules of this run, from now on."""
    execute = Connection.exec_command

    def hand_over_or_execute(self, cmd, in_data=None, sudoable=True):
        variables = read_environment(cmd) if in_data else None
        if variables is None:
            return execute(self, cmd, in_data, sudoable)
        ConnectionBase.exec_command(self, cmd, in_data=in_data, sudoable=sudoable)
        Display().vvv(f"EXEC {cmd}", host=self._play_context.remote_addr)
        files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        try:
            os.write(files[0], in_data)
            os.lseek(files[0], 0, os.SEEK_SET)
            code = run_elsewhere(address, [], {**os.environ, **variables}, files, self.cwd)
            return code, *(read_all(each) for each in files[1:])
        finally:
            for each in files:
                os.close(each)

    Connection.exec_command = hand_over_or_execute


def read_all(file):
    return os.pread(file, os.fstat(file).st_size, 0)
