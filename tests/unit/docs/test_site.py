"""The index of the HTML site, which antsibull writes and the site's configuration changes."""

from __future__ import annotations

import runpy

import pytest
from guide import ROOT

pytest.importorskip("sphinx_antsibull_ext", reason="the site is built with the newest packages only")
SITE = runpy.run_path(str(ROOT / "docs" / "site" / "conf.py"))
INDEX = """\
Cwagent.Iam
===========

.. contents::
   :local:
   :depth: 1

Start
-----

.. toctree::
    :maxdepth: 1

    docsite/getting_started

.. _plugin_index_for_cwagent.iam:

Modules
~~~~~~~

* :ansplugin:`a module <cwagent.iam.a#module>` -- Do this
* :ansplugin:`b module <cwagent.iam.b#module>` -- (internal) Do that

* :ansplugin:`c filter <cwagent.iam.c#filter>` -- (internal) Filter it

* :ansplugin:`d inventory <cwagent.iam.d#inventory>` -- List them

* :ansplugin:`e lookup <cwagent.iam.e#lookup>` -- Look it up

* :ansplugin:`f role <cwagent.iam.f#role>` -- Do all of it

.. toctree::
    :hidden:

    a_module
    b_module
"""
SHOWN = [("a", "module"), ("f", "role"), ("d", "inventory"), ("e", "lookup")]
"""The plug-ins that are not internal, in the order of the sections."""


def improved(page: str) -> list[str]:
    source = [INDEX]
    SITE["improve_page"](None, page, source)
    return source[0].splitlines()


def test_the_sidebar_has_the_sections_and_the_plugins_for_users():
    lines = improved("index")
    assert lines[0] == "cwagent.iam"
    captions = [line.partition(":caption: ")[2] for line in lines if ":caption:" in line]
    assert captions == ["Start", *SITE["KINDS"].values()]
    entries = [line.strip() for line in lines if line.startswith("    ") and ":" not in line]
    assert entries == ["docsite/getting_started", *(f"{name} <{name}_{kind}>" for name, kind in SHOWN)]
    described = {line for line in lines if line.startswith("* ")}
    assert described == {line for line in INDEX.splitlines() if line.startswith("* ") and "(internal)" not in line}


def test_a_page_loses_only_its_contents_which_the_theme_shows():
    contents = ".. contents::\n   :local:\n   :depth: 1\n"
    assert contents.splitlines()[0] not in improved("index")
    assert improved("a_module") == INDEX.replace(contents, "").splitlines()
