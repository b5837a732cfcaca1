# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options with which the controller finds a saved access key, for the modules that it sends the key to."""

from __future__ import annotations

from typing import Any

SOURCE_SPEC: dict[str, dict[str, Any]] = {
    "key_store": {"type": "str", "choices": ["file", "parameter_store", "secrets_manager"], "default": "file"},
    "key_store_directory": {"type": "path", "default": "~/.cwagent/credentials"},
    "key_store_prefix": {"type": "str", "no_log": False, "default": "/cwagent/credentials/"},
    "credentials_profile": {"type": "str", "default": "AmazonCloudWatchAgent"},
    "region": {"type": "str"},
}
