"""Settings of all unit tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadline for one example: tests run side by side, on machines of any speed.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("unit")
