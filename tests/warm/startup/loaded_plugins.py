"""Loads the plugins that runs of Ansible use, in the process that these are forked from.

Ansible looks for a filter in all files that may contain it, anew for each template, and lists a folder for each module
that a play may use. Together this takes a quarter of the time of a controller.
"""

from __future__ import annotations

import glob
import importlib
import inspect
import pkgutil
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any

from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS

# Kinds of plugins that runs use, by collection. Of modules, a run only needs to know where they are.
KINDS = {"amazon.aws": ("modules",), "cwagent.iam": ("action", "filter", "modules")}
OF_JINJA = [*(("filter", name) for name in DEFAULT_FILTERS), *(("test", name) for name in DEFAULT_TESTS)]


def load_plugins():
    """Load these plugins, and remember from now on what was found where."""
    cli: Any = importlib.import_module("ansible.cli")
    loaders: Any = importlib.import_module("ansible.plugins.loader")
    loaders.init_plugin_loader()
    cli.init_plugin_loader = lambda _collections_path: None
    loaders.glob = SimpleNamespace(glob=cache(glob.glob), iglob=cache(glob.glob))
    find_once(loaders.Jinja2Loader)
    for kind, name in [*OF_JINJA, *plugins()]:
        loader = getattr(loaders, f"{kind.removesuffix('s')}_loader")
        with suppress(KeyError):  # a file of filters has none with its own name
            loader.find_plugin_with_context(name) if kind == "modules" else loader.get(name, class_only=True)
    for _each in loaders.inventory_loader.all(class_only=True):
        pass
    inspect.stack()  # it reads where all modules are


def find_once(loader_class):
    """Let the loaders of filters and tests find each of them once, until a folder of plugins is added."""
    find, clear = cache(loader_class.get_with_context), loader_class._clear_caches

    def clear_all(self):
        find.cache_clear()
        clear(self)

    loader_class.get_with_context = lambda self, name, *_args, **_how: find(self, name)
    loader_class._clear_caches = clear_all


def plugins():
    """Return the kind and the name of each plugin of the collections."""
    for collection, kinds in KINDS.items():
        for kind in kinds:
            folder = importlib.import_module(f"ansible_collections.{collection}.plugins.{kind}")
            yield from ((kind, each.name) for each in pkgutil.iter_modules(folder.__path__, f"{collection}."))
