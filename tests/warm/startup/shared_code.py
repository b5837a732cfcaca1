"""Lets the runs of a test session share compiled code and parsed YAML, in the folder SHARED_BY_RUNS.

Ansible sends a module as an archive of source files, which Python compiles each time, and compiles a template in each
process that evaluates it. Each takes a tenth of the time of a run, or more. To parse YAML, the same files in each run
and the variables of a play for each of its tasks, takes a fifth.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import pickle
import sys
import zipimport
from contextlib import suppress
from pathlib import Path

# What a compiled template depends on, besides its text and the class of its environment.
SYNTAX = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix"),
    *("trim_blocks", "lstrip_blocks", "newline_sequence", "keep_trailing_newline", "optimized", "autoescape"),
)


CHECKOUT = str(Path(__file__).parents[3])
YAML = "yaml"
"""The folder, in that of all that is shared, of what YAML contains."""
loaded_code = {}
"""The code that this process, or one that it was forked from, has loaded, by its key."""


def place(key, folder):
    """Return the file that belongs to a key."""
    # The same files have other code in another version of Python or Ansible.
    return Path(folder, hashlib.sha256(repr((sys.prefix, key)).encode("utf-8", "surrogatepass")).hexdigest())


def load_or_make(saved, make, form):
    """Return what was saved in a file, made now or by an earlier run."""
    with suppress(OSError, EOFError, ValueError, pickle.UnpicklingError):
        return form.loads(saved.read_bytes())  # only the runs of this session can write there
    made = make()
    unfinished = saved.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(form.dumps(made))
    unfinished.replace(saved)
    return made


def load_or_compile(key, folder, compile_it):
    """Return the code that belongs to a key. It is loaded once, since nothing can change it."""
    name = repr(key)
    if name not in loaded_code:
        loaded_code[name] = load_or_make(place(key, folder), compile_it, marshal)
    return loaded_code[name]


def share_archives(folder):
    """Share the code of files in archives."""
    # Python offers no hook for this.
    compile_source = zipimport._compile_source  # type: ignore[attr-defined]

    def compile_once(path, source):
        # The folder in which Ansible unpacks differs with each run; the path within the archive does not.
        key = ("archive", path.rpartition(".zip")[2], source)
        return load_or_compile(key, folder, lambda: compile_source(path, source))

    zipimport._compile_source = compile_once  # type: ignore[attr-defined]


def share_collections(folder):
    """Share the code of collections, which Ansible compiles in each run."""
    from ansible.utils.collection_loader import _collection_finder

    def compile_once(source, filename, **how):
        return load_or_compile(("collection", filename, source), folder, lambda: compile(source, filename, **how))

    _collection_finder.compile = compile_once


def read_variables_once():
    """Let runs read a file of variables once, where Ansible reads it again for each task."""
    from ansible.parsing.dataloader import DataLoader

    load = DataLoader.load_from_file

    def load_once(self, file_name, cache="all", **how):
        return load(self, file_name, cache="all" if cache == "vaulted" else cache, **how)

    DataLoader.load_from_file = load_once


def share_templates(folder):
    """Share the code of the templates of this process and its forks."""
    from jinja2 import Environment

    compile_template = Environment.compile

    def compile_once(self, source, *args, **kwargs):
        if not isinstance(source, str):
            return compile_template(self, source, *args, **kwargs)
        key = (
            "template",
            sys.prefix,
            str(type(self)),
            str(source),
            args,
            kwargs,
            [getattr(self, each) for each in SYNTAX],
        )
        return load_or_compile(key, folder, lambda: compile_template(self, source, *args, **kwargs))

    Environment.compile = compile_once


# Marks on text of which the marks on what it contains are made. Others, such as that of a decrypted vault, are private.
ORDINARY_MARKS = {"Origin", "TrustedAsTemplate"}


parsed = {}
"""What YAML contains, by the file in which it is saved. It can be changed, so each process may take it once."""


def load_parsed(folder):
    """Load what runs have parsed since the last time, for the processes that are forked next."""
    for saved in Path(folder, YAML).iterdir():
        if not saved.suffix and saved not in parsed:
            with suppress(ImportError):  # an encrypted value is of a class that only a run can import
                parsed[saved] = pickle.loads(saved.read_bytes())  # noqa: S301  only these runs can write there


def is_of_a_test(marks):
    """Whether a text comes from a file of a test, which few runs read, and not from the checkout or from Ansible."""
    paths = [path for each in marks if (path := getattr(each, "path", None))]
    return not all(path.startswith((CHECKOUT, sys.prefix)) for path in paths)


def share_yaml(folder):
    """Share what YAML contains, with the marks that Ansible gives it."""
    import yaml

    parse = yaml.load
    Path(folder, YAML).mkdir(exist_ok=True)

    def parse_once(stream, Loader):  # noqa: N803  it is given by this name
        datatag = sys.modules.get("ansible.module_utils._internal._datatag")
        text = stream if isinstance(stream, (str, bytes)) else stream.read()
        if text is not stream:
            stream.seek(0)
        marks = datatag.AnsibleTagHelper.tags(text) if datatag else ()
        if not {type(each).__name__ for each in marks} <= ORDINARY_MARKS or is_of_a_test(marks):
            return parse(stream, Loader)
        saved = place((Loader.__qualname__, str(text), sorted(map(repr, marks))), Path(folder, YAML))
        if saved in parsed:
            return parsed.pop(saved)
        return load_or_make(saved, lambda: parse(stream, Loader), pickle)

    yaml.load = parse_once
