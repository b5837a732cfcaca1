"""Makes a playbook run and its modules start faster; Python imports this file when it starts.

Where a server forks them (../fork_server.py), they are run there. This process only hands them over and waits for their
end.
"""

from __future__ import annotations

import os
import sys

from fork_client import RUNS, run_elsewhere  # type: ignore[import-not-found]  # it is on the path of such runs


def is_module(arguments):
    """Whether Python was started to run a module of Ansible."""
    if not arguments:  # with pipelining, Ansible writes a module to its standard input
        return True
    return "AnsiballZ_" in arguments[-1] or arguments[0].endswith("/module_process.py")


def is_run(arguments):
    """Whether Python was started to run Ansible."""
    return arguments and arguments[0].rpartition("/")[2] in RUNS


if is_module(sys.orig_argv[1:]):
    if "MODULE_SERVER" in os.environ:
        os._exit(run_elsewhere(os.environ["MODULE_SERVER"], sys.orig_argv[1:]))
    elif "SHARED_BY_RUNS" in os.environ:
        import importlib

        importlib.import_module("shared_code").share_archives(os.environ["SHARED_BY_RUNS"])
elif "PLAYBOOK_SERVER" in os.environ and is_run(sys.orig_argv[1:]):
    os._exit(run_elsewhere(os.environ["PLAYBOOK_SERVER"], sys.orig_argv[1:]))
