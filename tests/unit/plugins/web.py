"""A web server for the tests of requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socket import AF_INET6


class Server(ThreadingHTTPServer):
    """A web server with its address, the requests that it got, and the answers that it gives."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]]
    answers: list[tuple[int, str] | None]


class ServerOfIPv6(Server):
    """The same over IPv6."""

    address_family = AF_INET6


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[Server]:
    """A web server on loopback, of IPv4 or IPv6.

    It answers with ``answers``, from first to last; ``None`` closes the connection.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append((self.path, dict(self.headers), body))
            answer = server.answers.pop(0)
            if answer is None:
                return
            self.send_response(answer[0])
            if answer[0] in (301, 302, 307, 308):
                self.send_header("Location", server.url)
            text = answer[1].encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.do_POST()

        def do_CONNECT(self) -> None:
            server.requests.append((self.path, dict(self.headers), b""))
            self.send_error(407, "Se/CrEt")

        def log_message(self, *_: object) -> None:
            pass

    is_ipv6 = ip_address(address).version == 6
    server = (ServerOfIPv6 if is_ipv6 else Server)((address, 0), Handler)
    server.requests, server.answers = [], []
    server.url = f"http://{f'[{address}]' if is_ipv6 else address}:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
