"""Runs a module in this process, as Ansible does: python module_process.py FILE < ARGUMENTS.

A module that runs on servers finds neither boto3 nor a collection of others, as on most servers.
"""

from __future__ import annotations

import json
import runpy
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils import basic

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core 2.18

    @contextmanager
    def patch_module_args(arguments):
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        yield


ON_SERVERS = ("agent_config", "credentials_file", "shared_credentials", "ssm_agent", "store_host")

if Path(sys.argv[1]).stem.removeprefix("cwagent_") in ON_SERVERS:
    missing: dict[str, Any] = dict.fromkeys(("boto3", "botocore", "ansible_collections.amazon"))
    sys.modules.update(missing)  # importing one of these is an error then
with patch_module_args(json.load(sys.stdin)):
    runpy.run_path(sys.argv[1], run_name="__main__")
