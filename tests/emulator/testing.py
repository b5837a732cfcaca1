"""Conditions that tests wait for, and errors that they expect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

WAIT_SECONDS = 300
"""How long a test waits at most. It takes a fraction of that on a machine that is not busy."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"the condition did not hold within {WAIT_SECONDS} seconds"
        time.sleep(0.05)  # AWS does not notify of changes, so the condition is polled


@contextmanager
def refused(code: str, message: str = "") -> Iterator[None]:
    """Expect that AWS refuses a call of the body."""
    with pytest.raises(ClientError, match=message or None) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == code
