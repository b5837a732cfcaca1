"""Lets the runs of a test session share compiled code, in the folder SHARED_BY_RUNS.

Ansible sends a module as an archive of source files, which Python compiles each time, and compiles a template in each
process that evaluates it. Each takes a tenth of the time of a run, or more.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import zipimport
from pathlib import Path

# What a compiled template depends on, besides its text and the class of its environment.
SYNTAX = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix"),
    *("trim_blocks", "lstrip_blocks", "newline_sequence", "keep_trailing_newline", "optimized", "autoescape"),
)


def load_or_compile(key, folder, compile_now):
    """Return the code for a key, compiled now or by an earlier run."""
    digest = hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()
    saved = Path(folder, f"{sys.implementation.cache_tag}-{digest}")
    try:
        return marshal.loads(saved.read_bytes())  # noqa: S302  only the runs of this session can write there
    except (OSError, EOFError, ValueError):
        code = compile_now()
    unfinished = saved.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(marshal.dumps(code))
    unfinished.replace(saved)
    return code


def share_archives(folder):
    """Share the code of files in archives."""
    # Python offers no hook for this.
    compile_source = zipimport._compile_source  # type: ignore[attr-defined]

    def compile_once(path, source):
        # The folder in which Ansible unpacks differs with each run; the path within the archive does not.
        key = ("archive", path.rpartition(".zip")[2], source)
        return load_or_compile(key, folder, lambda: compile_source(path, source))

    zipimport._compile_source = compile_once  # type: ignore[attr-defined]


def share_templates(folder):
    """Share the code of the templates of this process and its forks."""
    from jinja2 import Environment

    compile_template = Environment.compile

    def compile_once(self, source, *args, **kwargs):
        if not isinstance(source, str):
            return compile_template(self, source, *args, **kwargs)
        key = ("template", str(type(self)), str(source), args, kwargs, [getattr(self, each) for each in SYNTAX])
        return load_or_compile(
            key, os.environ["SHARED_BY_RUNS"], lambda: compile_template(self, source, *args, **kwargs)
        )

    Environment.compile = compile_once
