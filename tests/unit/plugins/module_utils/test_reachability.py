from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from ansible_collections.cwagent.iam.plugins.module_utils import _reachability
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._reachability import check_parameter_store

REFUSED = "http://127.0.0.1:9"


@pytest.fixture
def answering():
    """The address of a server that answers every request with a status, and none that is a success."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def silent():
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def check(endpoints):
    """Check the regions, whose endpoints are given."""

    def client_factory(service, region, config):
        keys = {"aws_access_key_id": "AKIAX", "aws_secret_access_key": "x"}  # or botocore looks for some
        return boto3.client(service, region_name=region, endpoint_url=endpoints[region], config=config, **keys)

    check_parameter_store(client_factory, endpoints)


def test_any_answer_proves_the_way(answering):
    check({"eu-west-1": answering, "us-east-1": answering})


def test_no_region_is_no_question():
    check({})


def test_the_regions_that_do_not_answer_are_named(answering):
    with pytest.raises(CwagentError) as failure:
        check({"eu-west-1": answering, "us-east-1": REFUSED, "eu-south-1": REFUSED})
    assert str(failure.value).startswith("This host does not reach Parameter Store in us-east-1 (")
    assert "; eu-south-1 (" in str(failure.value)
    assert "eu-west-1" not in str(failure.value)
    assert "needs a VPC endpoint for ssm" in str(failure.value)


def test_a_server_that_does_not_answer_is_tried_once(silent, monkeypatch):
    """Each try takes the timeout."""
    monkeypatch.setattr(_reachability, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(CwagentError, match="us-east-1"):
        check({"us-east-1": f"http://127.0.0.1:{silent.getsockname()[1]}"})
    silent.setblocking(False)
    silent.accept()[0].close()
    with pytest.raises(BlockingIOError):
        silent.accept()
