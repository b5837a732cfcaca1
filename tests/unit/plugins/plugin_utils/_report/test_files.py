from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import CONTAINER_VARIABLES
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.files import (
    ENDINGS,
    FORMATS,
    ROLE_FORMATS,
    sort_by_format,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import Problems

ANY_CASE = st.sampled_from(sorted(ENDINGS)).flatmap(
    lambda ending: st.tuples(*(st.sampled_from([each.lower(), each.upper()]) for each in ending)).map("".join)
)


def sorted_files(paths, written=FORMATS, **options):
    """The files by format without the formats that have none, the notices and the problems."""
    problems = Problems()
    files, notices = sort_by_format("x", paths, written, "this playbook", problems, **options)
    assert list(files) == list(FORMATS), "a playbook can use each format without asking whether it is there"
    return {kind: found for kind, found in files.items() if found}, notices, problems.sentences


KINDS = {
    "html": ["audit.html", "audit.json.html", "audit.sarif.html"],
    "json": ["audit.json", "audit.html.json", "/a folder.html/b.c.json", "sarif.json"],
    "junit": ["audit.junit.xml", "audit.sarif.junit.xml"],
    "cloudformation": ["policy.template", "policy.template.json"],
    "terraform": ["policy.tf", "policy.json.tf"],
    "sarif": ["audit.sarif", "audit.sarif.json", "audit.json.sarif", "AUDIT.Sarif.JSON"],
}


@pytest.mark.parametrize(("path", "kind"), [(path, kind) for kind, paths in KINDS.items() for path in paths])
def test_the_longest_ending_that_fits_chooses_the_format(path, kind):
    assert sorted_files([path]) == ({kind: [path]}, [], [])


@given(st.text(), ANY_CASE)
def test_an_ending_in_any_case_has_a_format(stem, ending):
    path = f"/{stem.replace('/', '')}{ending}"
    files, notices, problems = sorted_files([path])
    assert (list(files.values()), notices, problems) == ([[path]], [], [])


@pytest.mark.parametrize(
    "path", ["", "audit", "audit.xml", "junit.xml", "audit.htm", "audit.jsonl", "html", "audit.html/", "audit.html x"]
)
def test_any_other_ending_is_a_problem_that_lists_the_endings(path):
    endings = ".html, .json, .junit.xml, .sarif, .sarif.json, .template, .template.json or .tf"
    problem = f"x: '{path}', 'c' must end in {endings}."
    assert sorted_files([path, "b.html", "c"]) == ({"html": ["b.html"]}, [], [problem])


@pytest.mark.parametrize("other", ["/a/b.html", "/a/./b.html", "/a//b.html", "/c/../a/b.html"])
def test_the_same_path_twice_is_a_problem(other):
    assert sorted_files(["/a/b.html", other])[2] == [f"x has a duplicate path: {other}."]


def test_several_files_can_have_the_same_format():
    files = ["a.sarif", "b.sarif.json", "c.sarif", "a.json"]
    assert sorted_files(files) == ({"json": ["a.json"], "sarif": files[:3]}, [], [])


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ((), "no reports"),
        (("json",), "only files that end in .json"),
        (("junit", "sarif"), "only files that end in .junit.xml, .sarif or .sarif.json"),
    ],
)
def test_a_format_that_is_not_written_is_skipped_with_a_notice(written, why):
    kinds = {"a.html": "html", "b.HTML": "html", "c.json": "json", "d.junit.xml": "junit", "e.sarif": "sarif"}
    skipped = [path for path, kind in kinds.items() if kind not in written]
    files, [notice], problems = sorted_files(kinds, written)
    assert files == {kind: [path] for path, kind in kinds.items() if kind in written}
    assert notice == f"x: skipped {', '.join(skipped)}, because this playbook writes {why}."
    assert problems == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_suffix_comes_before_the_whole_ending(ending):
    [[path]] = sorted_files([f"/a.b/c.json{ending.upper()}"], suffix="-shop")[0].values()
    assert path == f"/a.b/c.json-shop{ending.upper()}"


def test_the_paths_are_absolute_where_that_is_possible():
    def to_absolute(path):
        if path.startswith("~"):
            raise InvalidInput(f"{path}: the home directory is not known.")
        return f"/here/{path}"

    files, notices, problems = sorted_files(
        ["~x/a.html", "~x/b", "a.html", "b.html"], ["html"], to_absolute=to_absolute
    )
    assert (files, notices) == ({"html": ["/here/a.html", "/here/b.html"]}, [])
    assert problems == [
        "x: '~x/b' must end in .html, .json, .junit.xml, .sarif, .sarif.json, .template, .template.json or .tf.",
        "x: ~x/a.html: the home directory is not known.",
    ]


def test_a_role_writes_formats_that_exist():
    assert {kind for written in ROLE_FORMATS.values() for kind in written} < {*FORMATS}


@pytest.mark.parametrize("name", CONTAINER_VARIABLES)
@pytest.mark.parametrize(
    ("paths", "written", "lost"),
    [
        (["/a/b.html", "c.json"], ("html", "json"), "/a/b.html, c.json"),
        (["/a/b.html", "c.json"], ("json",), "c.json"),
        (["c.json"], (), ""),
        ([], ("json",), ""),
    ],
)
def test_files_that_are_deleted_with_the_container_of_the_job_are_named(name, paths, written, lost, monkeypatch):
    def about_the_container():
        return [each for each in sorted_files(paths, written)[1] if "container" in each]

    assert about_the_container() == []
    monkeypatch.setenv(name, "1")
    message = (
        f"x: this is an execution environment, a container that is deleted after the job, together with {lost}. Write "
        "to a mounted volume that outlives the container, or copy the files in the same job."
    )
    assert about_the_container() == ([message] if lost else [])
