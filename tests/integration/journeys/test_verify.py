"""verify.yml and apply.yml, run by a user who has only the policy of each."""

from __future__ import annotations

import os
from typing import Any

import pytest
from emulator.machines import AGENT_CONTROL, AGENT_FOLDER
from harness import (
    ALLOWED_AT_MOST,
    HYBRID_ROLE,
    PARAMETER,
    POLICY_ARN,
    SERVER_POLICY,
    UNREACHABLE,
    Play,
    create_user,
)
