"""Settings of all unit tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

FOLDER = Path(__file__).parent
LOOPBACK = ["127.0.0.1", "::1"]

# No deadline for one example: tests run side by side, on machines of any speed.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# For `make mutants`, where it matters whether a test fails and not how.
settings.register_profile("mutants", settings.get_profile("unit"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("unit")


def pytest_configure(config: pytest.Config) -> None:
    """Let ansible-test run the tests of a worker in one process, as pytest does.

    It would start a process for each of thousands of tests, which takes several times the time of the tests. They show
    that the tarball is complete, and that it works with an ansible-core; neither depends on that.
    """
    if forks := config.pluginmanager.get_plugin("ansible_forked"):
        config.pluginmanager.unregister(forks)


@pytest.hookimpl(trylast=True)  # after hypothesis has marked its tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse connections beyond this machine, and measure no tests with random examples.

    The coverage of such tests is chance, and they run twice as long when they are measured. The environments of
    ansible-test do not have the plugins that do this.
    """
    ours = [each for each in items if each.path.is_relative_to(FOLDER)]
    if importlib.util.find_spec("pytest_socket"):
        for item in ours:
            item.add_marker(pytest.mark.allow_hosts(LOOPBACK))
    if importlib.util.find_spec("pytest_cov"):
        for item in (each for each in ours if each.get_closest_marker("hypothesis")):
            item.add_marker(pytest.mark.no_cover)
