"""Lets Ansible evaluate templates that a test has read itself."""

from __future__ import annotations

from typing import Any

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 evaluates any text
    trust_as_template = str


def trust_templates(value: Any) -> Any:
    """Return a value whose texts may be evaluated."""
    if isinstance(value, dict):
        return {key: trust_templates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [trust_templates(each) for each in value]
    return trust_as_template(value) if isinstance(value, str) else value
