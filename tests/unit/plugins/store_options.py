"""The options of a task that stores."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import SPEC, StoreOptions

DEFAULTS = {name: option.get("default") for name, option in SPEC.items()}


def store_options(**given: Any) -> StoreOptions:
    return StoreOptions.of({**DEFAULTS, "region": "eu-central-1", **given})
