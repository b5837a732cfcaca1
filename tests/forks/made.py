"""Keeps what is the same in each run of Ansible, so that only the first run makes it: a third of the work of a run."""

from __future__ import annotations

import importlib
import marshal
import pickle
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

CHECKOUT = Path(__file__).parents[2]


class Made:
    """The code of templates and expressions, the parsed files of the checkout, and the full names of actions.

    :param file: where runs write what they make, in a folder that only this user can enter. JSON has no code.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.size = file, 0
        self.made: dict[str, Any] = {}

    def read(self) -> None:
        """Read what runs have written since the last time."""
        if not self.file.exists():
            return
        with self.file.open("rb") as written, suppress(Exception):  # a damaged record can fail in any way
            written.seek(self.size)
            while True:
                name, made = marshal.load(written)  # noqa: S302  nobody else can write the file
                if not isinstance(made, CodeType):
                    made = pickle.loads(made)  # noqa: S301  nobody else can write the file
                self.made[name], self.size = made, written.tell()
        if self.size < self.file.stat().st_size:
            # A run is still writing, or was killed while it wrote. Nothing tells where the next record begins.
            self.file.unlink()
            self.size = 0

    def find(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what has this name. If no run has made it, make it, and write it for later runs."""
        if name not in self.made:
            made = self.made[name] = make()
            with self.file.open("ab", buffering=0) as written:
                written.write(marshal.dumps((name, made if isinstance(made, CodeType) else pickle.dumps(made))))
        return self.made[name]

    def use(self) -> None:
        """Let Jinja and Ansible use them in this process and its workers."""
        self._use_code()
        self._use_contents()
        base: Any = importlib.import_module("ansible.playbook.base").Base
        resolve = base._resolve_action

        def find_action(part: Any, action: str, mandatory: bool = True) -> Any:
            return self.find(f"action {action} {mandatory}", lambda: resolve(part, action, mandatory=mandatory))

        base._resolve_action = find_action

    def _use_code(self) -> None:
        jinja: Any = importlib.import_module("jinja2.environment")
        environments = jinja.Environment
        compile_template, compile_expression = environments.compile, environments.compile_expression

        def describe(environment: Any) -> str:
            marks = environment.block_start_string, environment.variable_start_string
            spaces = environment.trim_blocks, environment.lstrip_blocks, environment.keep_trailing_newline
            return f"{type(environment).__name__} {environment.autoescape} {marks} {spaces}"

        def find_code(environment: Any, source: Any, *others: Any, **more: Any) -> Any:
            # A template with backslashes can have two meanings. An expression is no text.
            if environment.overlayed or others or more or not isinstance(source, str) or "\\" in source:
                return compile_template(environment, source, *others, **more)
            return self.find(f"{describe(environment)} {source}", lambda: compile_template(environment, source))

        def find_expression(environment: Any, source: str, undefined_to_none: bool = True) -> Any:
            if environment.overlayed or "\\" in source:
                return compile_expression(environment, source, undefined_to_none)

            def make() -> CodeType:
                compiled: list[CodeType] = []

                def compile_and_keep(environment: Any, tree: Any) -> CodeType:
                    compiled.append(compile_template(environment, tree))
                    return compiled[0]

                with replaced(environments, "compile", compile_and_keep):
                    compile_expression(environment, source, undefined_to_none)
                return compiled[0]

            code = self.find(f"expression {describe(environment)} {source}", make)
            template = environment.template_class.from_code(environment, code, environment.make_globals(None))
            return jinja.TemplateExpression(template, undefined_to_none)

        environments.compile, environments.compile_expression = find_code, find_expression

    def _use_contents(self) -> None:
        dataloader: Any = importlib.import_module("ansible.parsing.dataloader")
        loaders = dataloader.DataLoader
        parse = loaders.load

        def find_content(loader: Any, data: str, **more: Any) -> Any:
            # Before ansible-core 2.19, a parsed vault has the passwords of its run.
            if not str(more.get("file_name")).startswith(f"{CHECKOUT}/") or "!vault" in data:
                return parse(loader, data, **more)
            # Tags say, for example, whether the text is trusted to be a template.
            tags = sorted(each.__name__ for each in getattr(data, "_ansible_tags_mapping", ()))
            return self.find(f"{sorted(more.items())} {tags} {data}", lambda: parse(loader, data, **more))

        loaders.load = find_content
        # A copy through pickle is the same, and takes a third of the time.
        dataloader.copy = SimpleNamespace(deepcopy=lambda content: pickle.loads(pickle.dumps(content)))  # noqa: S301


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Any:
    """Replace an attribute while the body runs."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def find_filters_once() -> None:
    """Let Ansible search each filter and test of a collection once. It would search all files of all filters again."""
    loaders: Any = importlib.import_module("ansible.plugins.loader").Jinja2Loader
    search = loaders.get_with_context
    found: dict[tuple[str, str], Any] = {}

    def find(loader: Any, name: str, *others: Any, **more: Any) -> Any:
        if name.count(".") < 2:  # it can be beside a playbook, too
            return search(loader, name, *others, **more)
        if (loader.type, name) not in found:
            found[loader.type, name] = search(loader, name, *others, **more)
        return found[loader.type, name]

    loaders.get_with_context = find
