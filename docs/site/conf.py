"""Builds the HTML site from the collection's documentation."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

project = title = html_short_title = "cwagent.iam"
project_copyright = "cwagent.iam contributors"

extensions = ["sphinx_antsibull_ext"]
default_role = "any"
nitpicky = True
highlight_language = "YAML+Jinja"
pygments_style = "ansible"

html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_smartypants = True
html_use_modindex = False
html_use_index = False
html_copy_source = False

ANSIBLE_DOCS = "https://docs.ansible.com/projects/ansible/latest/"
ANSIBLE_PAGES = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
ANSIBLE_PLUGIN = re.compile(
    r"ansible_collections\.(\w+)\.(\w+)\.(\w+)_(module|role|lookup|inventory|filter|connection)"
)


def setup(app: Any) -> None:
    app.connect("missing-reference", link_to_ansible)


def link_to_ansible(_app: Any, _env: Any, node: Any, text: nodes.Node) -> nodes.Node | None:
    """Link to Ansible's own site by its rules, because fetching its index would need a network."""
    target = node["reftarget"]
    found = ANSIBLE_PLUGIN.fullmatch(target)
    if found and found[1] != "cwagent":
        page = "collections/{}/{}/{}_{}.html".format(*found.groups())
    elif node["reftype"] == "envvar" and target.startswith("ANSIBLE_"):
        page = f"{ANSIBLE_PAGES['ansible_configuration_settings']}#envvar-{target}"
    elif target in ANSIBLE_PAGES:
        page = ANSIBLE_PAGES[target]
    else:
        return None  # which is an error
    link = nodes.reference("", "", internal=False, refuri=ANSIBLE_DOCS + page)
    link += text
    return link
