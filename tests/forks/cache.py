"""Caches results that are the same in every run of Ansible. Making them is a third of the work of a run."""

from __future__ import annotations

import importlib
import marshal
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

CHECKOUT = Path(__file__).parents[2]


class Cache:
    """The code of templates, the parsed files of the checkout, and the full names of actions.

    :param file: where runs write their results, in a folder that only this user can enter. JSON cannot hold code.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.size = file, 0
        self.results: dict[str, Any] = {}

    def read(self) -> None:
        """Read what runs have written since the last time."""
        if not self.file.exists():
            return
        with self.file.open("rb") as written, suppress(Exception):  # a damaged record can fail in any way
            written.seek(self.size)
            while True:
                # Only this user's own runs write the file: it has mode 0600, in a folder of mode 0700. A program that
                # could put a harmful record there can run anything as this user already.
                name, result = marshal.load(written)  # noqa: S302  of the formats, only this one holds code
                if not isinstance(result, CodeType):
                    result = pickle.loads(result)  # noqa: S301  only this one holds content with Ansible's tags
                self.results[name], self.size = result, written.tell()
        if self.size < self.file.stat().st_size:
            # A run is still writing, or was killed while it wrote. Nothing tells where the next record begins.
            self.file.unlink()
            self.size = 0

    def find(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the result with this name. If no run has made it, make it, and write it for later runs."""
        if name not in self.results:
            result = self.results[name] = make()
            with open(self.file, "ab", buffering=0, opener=partial(os.open, mode=0o600)) as written:
                written.write(marshal.dumps((name, result if isinstance(result, CodeType) else pickle.dumps(result))))
        return self.results[name]

    def use(self) -> None:
        """Let Jinja and Ansible use the results in this process and its workers."""
        self._use_code()
        self._use_contents()
        base: Any = importlib.import_module("ansible.playbook.base").Base
        resolve = base._resolve_action

        def find_action(part: Any, action: str, mandatory: bool = True) -> Any:
            # Of these, one can be beside a playbook, and Ansible warns of a mandatory one.
            if mandatory or action.startswith("ansible.legacy."):
                return resolve(part, action, mandatory=mandatory)
            return self.find(f"action {action}", lambda: resolve(part, action, mandatory=False))

        base._resolve_action = find_action

    def _use_code(self) -> None:
        environments: Any = importlib.import_module("jinja2").Environment
        loader: Any = importlib.import_module("ansible.plugins.loader")
        compile_source = environments.compile

        def find_code(environment: Any, source: Any, *others: Any, **more: Any) -> Any:
            """Find the code of a template, or of an expression, which Jinja has parsed.

            Jinja looks filters up while it compiles, and those beside a playbook are its own. Before ansible-core 2.19,
            it also computes constant expressions, such as whether a file exists.
            """
            plugins = loader.filter_loader, loader.test_loader
            is_own = environment.overlayed or environment.optimized or any(each._extra_dirs for each in plugins)
            # Ansible escapes backslashes in some templates only, so the same text can have two meanings.
            if is_own or others or more or (isinstance(source, str) and "\\" in source):
                return compile_source(environment, source, *others, **more)
            marks = environment.block_start_string, environment.variable_start_string
            spaces = environment.trim_blocks, environment.lstrip_blocks, environment.keep_trailing_newline
            name = f"{type(environment).__name__} {environment.autoescape} {marks} {spaces} {source!r}"
            return self.find(name, lambda: compile_source(environment, source))

        environments.compile = find_code

    def _use_contents(self) -> None:
        loaders: Any = importlib.import_module("ansible.parsing.dataloader").DataLoader
        parse = loaders.load

        def find_content(loader: Any, data: str, **more: Any) -> Any:
            # Tags say, for example, whether the text is trusted to be a template.
            tags = sorted(each.__name__ for each in getattr(data, "_ansible_tags_mapping", ()))
            was_encrypted = "SourceWasEncrypted" in tags or not more.get("show_content", True)
            # Before ansible-core 2.19, a parsed vault has the passwords of its run.
            is_secret = was_encrypted or "vault" in data
            if is_secret or not str(more.get("file_name")).startswith(f"{CHECKOUT}/"):
                return parse(loader, data, **more)
            return self.find(f"{sorted(more.items())} {tags} {data}", lambda: parse(loader, data, **more))

        loaders.load = find_content


def find_filters_once() -> None:
    """Let Ansible search the filters and tests of a collection once, and none of Jinja's own.

    Otherwise, each worker searches all files of the collection, or of ``ansible.builtin``, for each of them.
    """
    loading: Any = importlib.import_module("ansible.plugins.loader")
    jinja: Any = importlib.import_module("jinja2.defaults")
    search = loading.Jinja2Loader.get_with_context
    found: dict[tuple[str, str], Any] = {}

    def find(loader: Any, name: str, *others: Any, **more: Any) -> Any:
        loader._ensure_non_collection_wrappers(*others, **more)
        # These include plugins beside the playbook, which can have the name of any of ``ansible.builtin`` or Jinja.
        is_known, key = name in loader._cached_non_collection_wrappers, (loader.type, name)
        is_of_collection = name.count(".") >= 2 and not name.startswith("ansible.")
        if is_known or not (key in found or is_of_collection):
            return search(loader, name, *others, **more)
        if key not in found:
            found[key] = search(loader, name, *others, **more)
        return found[key]

    for loader, names in ((loading.filter_loader, jinja.DEFAULT_FILTERS), (loading.test_loader, jinja.DEFAULT_TESTS)):
        loader._ensure_non_collection_wrappers()
        unknown = [name for name in names if name not in loader._cached_non_collection_wrappers]
        found.update(dict.fromkeys(((loader.type, name) for name in unknown), search(loader, unknown[0])))
    loading.Jinja2Loader.get_with_context = find
