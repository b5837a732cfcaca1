"""Lets the runs of a test session share what Ansible assembles and compiles for them, in the folder SHARED_BY_RUNS."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

sys.path.append(str(Path(__file__).parents[1] / "startup"))

DOCUMENTATION = """
name: shared
type: aggregate
short_description: Shares payloads and templates
description: For tests, which run Ansible often.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "shared"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        # Each run of Ansible assembles anew what it sends of a module, half a second for each. Ansible locks a file
        # while it writes it.
        folder = os.environ["SHARED_BY_RUNS"]
        payloads = Path(folder, f"payloads-{__version__}")
        payloads.mkdir(exist_ok=True)
        Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(payloads)
        # The search path is that of the run, which a test may have set.
        sys.path.append(str(Path(__file__).parents[1] / "startup"))
        shared_code = importlib.import_module("shared_code")
        shared_code.share_collections(folder)
        shared_code.share_templates(folder)
        if "MODULE_SERVER" in os.environ:
            importlib.import_module("modules_without_shell").hand_over_modules(os.environ["MODULE_SERVER"])
        with suppress(ImportError):  # ansible-core 2.18 starts its workers in another way
            importlib.import_module("tasks_in_controller").run_tasks_in_controller()
        # Ansible looks for results a thousand times a second otherwise, which takes a twentieth of the processor.
        constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.01
