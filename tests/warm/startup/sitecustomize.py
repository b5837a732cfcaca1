"""Makes a playbook run and its modules start faster; Python imports this file when it starts.

Where a server forks them (../fork_server.py), they are run there. This process only hands them over and waits for their
end, so it imports little: ``socket`` and ``json`` alone take as long as the start of Python.
"""

from __future__ import annotations

import marshal
import os
import sys


def run_elsewhere(address, arguments):
    """Hand the program over, and end as it ended."""
    from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket

    umask = os.umask(0)
    os.umask(umask)
    folder = os.getcwd()  # noqa: PTH109  as little as possible is imported
    request = {"argv": arguments, "environ": dict(os.environ), "folder": folder, "umask": umask}
    connection = socket(AF_UNIX, SOCK_SEQPACKET)
    connection.connect(address)
    files = b"".join(each.to_bytes(4, sys.byteorder) for each in (0, 1, 2))
    connection.sendmsg([marshal.dumps(request)], [(SOL_SOCKET, SCM_RIGHTS, files)])
    code = connection.recv(1)
    os._exit(code[0] if code else 137)


def is_module(arguments):
    """Whether Python was started to run a module of Ansible."""
    if not arguments:  # with pipelining, Ansible writes a module to its standard input
        return True
    return "AnsiballZ_" in arguments[-1] or arguments[0].endswith("/module_process.py")


if is_module(sys.orig_argv[1:]):
    if "MODULE_SERVER" in os.environ:
        run_elsewhere(os.environ["MODULE_SERVER"], sys.orig_argv[1:])
    elif "SHARED_BY_RUNS" in os.environ:
        import importlib

        importlib.import_module("shared_code").share_archives(os.environ["SHARED_BY_RUNS"])
elif "PLAYBOOK_SERVER" in os.environ and sys.orig_argv[1:] and sys.orig_argv[1].endswith("/ansible-playbook"):
    run_elsewhere(os.environ["PLAYBOOK_SERVER"], sys.orig_argv[1:])
