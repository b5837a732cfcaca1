#!/usr/bin/python
"""Returns the document in a file, as the modules of an audit would: Ansible does not trust what a module returns."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
module.exit_json(changed=False, document=json.loads(Path(module.params["path"]).read_text()))
