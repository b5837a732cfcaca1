"""Builds the HTML site from the collection's documentation."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx_antsibull_ext.assets import get_color_scheme_content

project = html_title = "cwagent.iam"
project_copyright = "cwagent.iam contributors"

extensions = ["sphinx_antsibull_ext"]
default_role = "any"
nitpicky = True
highlight_language = "YAML+Jinja"


def colors(scheme: str) -> dict[str, str]:
    """Return the colors of antsibull's tables, which follow the reader's choice of the theme as its variables."""
    return dict(re.findall(r"--([\w-]+):([^;}]+)", get_color_scheme_content(scheme).decode()))


html_theme = "furo"
html_theme_options = {"light_css_variables": colors("default"), "dark_css_variables": colors("default-dark")}
html_static_path = ["static"]
html_css_files = ["tables.css"]
antsibull_ext_color_scheme = "none"
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


KINDS = {"module": "Modules", "role": "Roles", "inventory": "Inventory plug-ins", "lookup": "Lookup plug-ins"}
"""By kind of plug-in, the title of its section."""


def setup(app: Any) -> None:
    app.connect("source-read", improve_page)
    app.connect("missing-reference", link_to_ansible)


def improve_page(_app: Any, page: str, source: list[str]) -> None:
    """Remove the contents of a page of antsibull, which the theme shows itself.

    Let the sidebar have the sections of the index, and the plug-ins that are not internal.
    """
    source[0] = re.sub(r"^\.\. contents::\n(?: +:.*\n)+", "", source[0], flags=re.MULTILINE)
    if page == "index":
        pages = source[0].partition(".. _plugin_index_for_")[0].replace("Cwagent.Iam", project)
        pages = re.sub(r"^(.+)\n-+\n\n\.\. toctree::\n", r".. toctree::\n    :caption: \1\n", pages, flags=re.MULTILINE)
        source[0] = pages + "".join(plugins(source[0], *each) for each in KINDS.items())


def plugins(index: str, kind: str, title: str) -> str:
    """Return the section of the plug-ins of a kind, which antsibull lists in its index."""
    line = rf"^\* :ansplugin:`(\w+) {kind} <.*?>` -- (?!\(internal\)).+$"
    listed = [(match[0], match[1]) for match in re.finditer(line, index, re.MULTILINE)]
    names = "\n".join(f"    {name} <{name}_{kind}>" for _line, name in listed)
    lines = "\n".join(line for line, _name in listed)
    return f"\n{title}\n{'-' * len(title)}\n\n{lines}\n\n.. toctree::\n    :caption: {title}\n    :hidden:\n\n{names}\n"


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
