"""Asks a server to run a program in a fork (../fork_server.py).

Each program that is handed over imports this first, so it imports little: ``socket`` and ``json`` alone take as long
as the start of Python.
"""

from __future__ import annotations

import marshal
import os
import sys

KILLED = 137
MESSAGE_BYTES = 32
# The programs that run Ansible, and are forked for tests.
RUNS = ("ansible-playbook", "ansible-inventory")


def ask(address, arguments, environ, files, folder=None):
    """Ask the server to run a Python program with these streams.

    :param arguments: its file and arguments; with none, it comes by its standard input.
    :param folder: where it is run; by default the folder of this process.
    :returns: a connection with two messages: the id of its process, and its exit code as a byte. To close it ends the
        program, if it still runs.
    """
    from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket

    umask = os.umask(0)
    os.umask(umask)
    where = folder or os.getcwd()  # noqa: PTH109  as little as possible is imported
    request = {"argv": arguments, "environ": environ, "folder": where, "umask": umask}
    connection = socket(AF_UNIX, SOCK_SEQPACKET)
    connection.connect(address)
    rights = b"".join(each.to_bytes(4, sys.byteorder) for each in files)
    connection.sendmsg([marshal.dumps(request)], [(SOL_SOCKET, SCM_RIGHTS, rights)])
    return connection


def run_elsewhere(address, arguments, environ=os.environ, files=(0, 1, 2), folder=None):
    """Run a program as ``ask`` does, by default as this process, and wait for its end. :returns: its exit code."""
    connection = ask(address, arguments, dict(environ), files, folder)
    try:
        connection.recv(MESSAGE_BYTES)
        code = connection.recv(MESSAGE_BYTES)
    finally:
        connection.close()
    return code[0] if code else KILLED
