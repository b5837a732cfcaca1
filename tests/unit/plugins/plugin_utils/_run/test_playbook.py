"""The input of a run is collected from the variables of its task. Its interpretation has separate tests."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from import_graph import PLUGINS
from input_runs import inputs_of
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run import playbook
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.playbook import PlaybookInputs

EU, US = "eu-central-1", "us-east-1"
WEB, ADMIN = "i-0123456789abcdef0", "i-0123456789abcdef1"
HOSTS: dict[str, dict[str, Any]] = {
    "localhost": {"cwagent_region": EU},
    "web": {"instance_id": WEB, "cwagent_region": US},
    "adm": {"instance_id": ADMIN},
    "db": {"cwagent_region": EU},
    "other": {"cwagent_regin": "x"},
}
GROUPS = {
    "cwagent_ec2_servers": ["web"],
    "cwagent_ec2_admin": ["adm"],
    "cwagent_onprem_servers": ["db"],
    "all": [*HOSTS],
}
ACCOUNTS = {
    "shop": {"cwagent_region": EU, "cwagent_account_aws_profile": "shop"},
    "blog": {"cwagent_region": EU, "cwagent_account_aws_profile": "blog"},
    "web": {"instance_id": WEB, "cwagent_account": "shop"},
    "app": {"instance_id": ADMIN, "cwagent_account": "blog"},
    "lost": {"instance_id": "i-0123456789abcdef2", "cwagent_account": "wiki"},
}
GROUPS_OF_ACCOUNTS = {"cwagent_accounts": ["shop", "blog"], "cwagent_ec2_servers": ["web", "app", "lost"]}
PLAY = {"ansible_play_hosts_all": ["shop", "blog"]}


@pytest.fixture
def warnings() -> list[str]:
    return []


def read(variables: dict[str, Any], warnings: list[str], *requires: str, **options: Any) -> dict[str, Any]:
    given = {"requires": requires, "found": None, "check_max_fail_percentage": False, "server_policy": None, **options}
    return PlaybookInputs(variables, given, DataLoader(), warnings.append).read()


def with_variables(**variables: Any) -> dict[str, Any]:
    """The variables of a run whose controller has more variables."""
    return task_variables({**HOSTS, "localhost": {**HOSTS["localhost"], **variables}}, groups=GROUPS)


def test_the_hosts_in_the_groups_are_read(warnings: list[str]) -> None:
    found = read(with_variables(), warnings)
    assert found["instances"] == {US: [WEB], EU: [ADMIN]}
    assert found["onprem_hosts"].keys() == {"db"}
    assert found["problems"] == warnings == []


@pytest.mark.parametrize("name", ["__cwagent_requires", "__cwagent_tasks", "__store_config_options", "__verify_read"])
def test_a_command_cannot_set_what_the_collection_sets(
    name: str, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playbook, "load_extra_vars", lambda _loader: {name: 1, "__mine": 2, "cwagent_region": EU})
    with pytest.raises(InvalidInput, match=rf"^{name}: the collection sets such variables\."):
        read(with_variables(), warnings, "restore")


def test_problems_fail_a_task_unless_it_restores(warnings: list[str]) -> None:
    given = with_variables(cwagent_regin=EU, ec2_server_wait_timeout="soon", ec2_server_tag={}, ec2_server_name="X")
    problems = [
        "cwagent_regin is not a variable of this collection; did you mean cwagent_region?",
        "ec2_server_name is a variable of a role that the playbooks set. Set cwagent_server_role_name instead.",
        "ec2_server_tag is not a variable of the role ec2_server; did you mean ec2_server_tags?",
    ]
    assert set(problems) <= set(read(given, warnings, "restore")["problems"])
    with pytest.raises(InvalidInput) as refused:
        read(given, warnings)
    assert [each for each in problems if each not in str(refused.value)] == []


def test_variables_that_the_playbooks_leave_to_the_user_are_checked(warnings: list[str]) -> None:
    [problem] = read(with_variables(verify_report_files=7), warnings, "restore")["problems"]
    assert problem.startswith("verify_report_files is a variable of a role that the playbooks set.")
    [problem] = read(with_variables(onprem_credentials_file=["x"]), warnings, "restore")["problems"]
    assert problem == "onprem_credentials_file must be text, not '['x']'."


def test_facts_that_set_variables_are_refused(warnings: list[str]) -> None:
    hosts = {**HOSTS, "web": {**HOSTS["web"], "ansible_facts": {"instance_id": ADMIN}}}
    with pytest.raises(InvalidInput, match=r"^Host web: its facts set instance_id\."):
        read(task_variables(hosts, groups=GROUPS), warnings)
    read(task_variables({**HOSTS, "other": {"ansible_facts": {"cwagent_x": 1}}}, groups=GROUPS), warnings)


def test_configurations_are_searched_where_a_playbook_stores_them(warnings: list[str], tmp_path: Path) -> None:
    (tmp_path / "agent.json").touch()
    given = with_variables(cwagent_config_file="agent.json")
    [config] = read({**given, "playbook_dir": str(tmp_path)}, warnings, "configs")["configs"]
    assert config["file"] == str(tmp_path / "agent.json")
    assert read(given, warnings, "restore")["problems"] == []
    with pytest.raises(InvalidInput, match=rf"there is no file agent.json in {Path.cwd()}, /nowhere\."):
        read({**given, "playbook_dir": "/nowhere", "inventory_dir": "None"}, warnings, "configs")


def test_a_missing_file_is_not_sought_beside_the_playbooks_of_the_collection(warnings: list[str]) -> None:
    """The message lists the folders where a user can put it. The folder of a project with playbooks is one."""
    given = {**with_variables(cwagent_config_file="agent.json"), "inventory_dir": "None"}
    installed = str(playbook.SPEC.parents[1])
    for folder, listed in ((installed, ""), ("/project", ", /project")):
        with pytest.raises(InvalidInput, match=rf"there is no file agent.json in {Path.cwd()}{listed}\."):
            read({**given, "playbook_dir": folder}, warnings, "configs")


def test_notices_are_shown_as_warnings(warnings: list[str]) -> None:
    assert read(with_variables(cwagent_report_files=["a.html"]), warnings)["problems"] == []
    assert [each.startswith("cwagent_report_files: skipped ") for each in warnings] == [True]


@pytest.mark.parametrize(("limit", "left"), [((), {"web", "adm", "db"}), (("web", "other"), {"web"})])
def test_a_limit_leaves_servers_out(limit: tuple[str, ...], left: set[str], warnings: list[str]) -> None:
    inputs = read(task_variables(HOSTS, groups=GROUPS, limit=limit), warnings, "servers", "restore")
    assert {each["host"] for each in inputs["servers"]} == left


def test_a_job_of_awx_is_known(warnings: list[str]) -> None:
    account = task_variables(ACCOUNTS, "shop", GROUPS_OF_ACCOUNTS, **PLAY)
    for more, is_known in (({}, False), ({"awx_job_id": 7}, True)):
        problems = " ".join(read({**account, **more}, warnings, "restore")["problems"])
        assert ("In AWX, each slice" in problems) == is_known


def test_an_account_has_its_own_hosts(warnings: list[str]) -> None:
    given = task_variables(ACCOUNTS, "shop", GROUPS_OF_ACCOUNTS, **PLAY)
    inputs = read(given, warnings, "restore")
    assert inputs["instances"] == {EU: [WEB]}
    assert inputs["account"]["host"] == "shop"
    assert any("lost" in each and "wiki" in each for each in inputs["problems"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"^The same as for shop: .*lost.*"),
        ({"cwagent_account_id": "7"}, r"^(?!.*lost)(?!The same).*cwagent_account_id"),
    ],
)
def test_only_the_first_account_lists_a_problem_that_others_share(
    changes: dict[str, Any], message: str, warnings: list[str]
) -> None:
    hosts = {**ACCOUNTS, "blog": {**ACCOUNTS["blog"], **changes}}
    with pytest.raises(InvalidInput, match=message):
        read(task_variables(hosts, "blog", GROUPS_OF_ACCOUNTS, **PLAY), warnings)
    with pytest.raises(InvalidInput, match=r"^(?!The same).*lost"):
        read(task_variables(hosts, "shop", GROUPS_OF_ACCOUNTS, **PLAY), warnings)


@pytest.mark.parametrize("given", ["", "aws"])
def test_the_policy_of_the_account_counts_like_a_variable(given: str, warnings: list[str]) -> None:
    variables = with_variables(
        cwagent_server_policy=given, cwagent_permissions_boundary="arn:aws:iam::123456789012:policy/B"
    )
    assert read(variables, warnings)["server_policy"] == "aws"
    found = read(variables, warnings, server_policy="fitted")
    assert (found["server_policy"], found["account_decides_policy"]) == ("fitted", False)


def test_instances_that_were_found_count(warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str]] = []
    monkeypatch.setattr(playbook, "say", lambda *words: said.append(words))
    hosts = {name: ACCOUNTS[name] for name in ("shop", "blog")}
    groups = {"cwagent_accounts": ["shop", "blog"], "all": ["shop", "blog"]}
    of_shop = {**hosts["shop"], "cwagent_account_server_filters": {"tag:agent": "on"}}
    found = {"account_id": "123456789012", "instances": {EU: [WEB]}, "admin_instance": None, "warnings": []}
    given = task_variables({**hosts, "shop": of_shop}, "shop", groups, **PLAY)
    assert read(given, warnings, found=found)["instances"] == {EU: [WEB]}
    assert [host for host, _text in said] == ["shop"]
    wrong = task_variables({**hosts, "blog": {**of_shop, "cwagent_regin": EU}}, "blog", groups, **PLAY)
    with pytest.raises(InvalidInput, match=r"^cwagent_regin is not"):
        read(wrong, warnings, found=found)


CONFIG = "[profile far]\nregion = ap-south-1\n[default]\nregion = eu-west-1\n"


@pytest.mark.parametrize(
    ("environment", "profile", "region"),
    [
        ({}, "", "eu-west-1"),
        ({}, "far", "ap-south-1"),
        ({}, "unknown", "eu-west-1"),
        ({"AWS_DEFAULT_REGION": US}, "far", US),
        ({"AWS_DEFAULT_REGION": EU, "AWS_REGION": US}, "", US),
    ],
)
def test_the_default_region_is_the_one_of_the_aws_tools(
    environment: dict[str, str], profile: str, region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_config(tmp_path, monkeypatch, CONFIG)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert playbook._default_region(profile) == region


def use_config(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (folder / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


def test_a_configuration_that_cannot_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_config(tmp_path, monkeypatch, "[default\n")
    with pytest.raises(InvalidInput, match=r"^The AWS configuration cannot be read: .*[^.]\.$"):
        playbook._default_region("")


def test_no_region_is_known_without_botocore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_config(tmp_path, monkeypatch, CONFIG)
    monkeypatch.setitem(sys.modules, "botocore", None)
    assert playbook._default_region("") == ""


def test_a_name_that_is_too_long_or_an_unknown_home_is_no_file() -> None:
    with pytest.raises(InvalidInput, match=r"^there is no file x+ in /\.$"):
        playbook._find_file("x" * 999, [Path("/")])
    with pytest.raises(InvalidInput, match=r"^~nobody\d/x: the home directory is not known\.$"):
        playbook._find_file("~nobody7/x", [Path("/")])


@pytest.mark.parametrize(
    ("active", "percentage", "reason"),
    [
        (["shop", "blog"], 0, ""),
        (["blog"], 50, ""),
        (["blog"], 49, "Skipped: 1 of 2 accounts of a batch failed (cwagent_max_fail_percentage is 49)."),
    ],
)
def test_an_account_is_skipped_when_too_many_of_a_batch_failed(
    active: list[str], percentage: int, reason: str, warnings: list[str]
) -> None:
    """A host that is not among the hosts of the play any more has failed."""
    inputs = {"__cwagent": {**inputs_of(), "max_fail_percentage": percentage, "batch_size": ["2"]}}
    given = task_variables({"shop": inputs, "blog": inputs}, "blog", ansible_play_hosts=active)
    expected = {"failed": True, "msg": reason} if reason else {}
    assert read(given, warnings, check_max_fail_percentage=True) == expected


# Files


def test_a_file_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("none", "inventory", "playbook")]
    for folder in folders[1:]:
        folder.mkdir()
        (folder / "a.json").touch()
    assert playbook._find_file("a.json", folders) == str(folders[1] / "a.json")
    with pytest.raises(InvalidInput, match=r"^there is no file b\.json in .*/none, .*/inventory, "):
        playbook._find_file("b.json", folders)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, None])
def test_only_regular_files_are_read(tmp_path: Path, make: Any) -> None:
    """Reading the last two would not end."""
    path = str(tmp_path / "x") if make else "/dev/zero"
    if make:
        make(path)
    with pytest.raises(InvalidInput, match=rf"^{path} is not a regular file\.$"):
        playbook._find_file(path, [tmp_path])


# Runs that are refused


@pytest.mark.parametrize(
    ("tags", "is_refused"),
    [
        ({}, False),
        ({"ansible_run_tags": ["all"], "ansible_skip_tags": []}, False),
        ({"ansible_run_tags": ["untagged", "store"]}, False),
        ({"ansible_run_tags": ["store"]}, True),
        ({"ansible_run_tags": ["always"]}, True),
        ({"ansible_run_tags": ["tagged"]}, True),
        ({"ansible_run_tags": ["all"], "ansible_skip_tags": ["other"]}, False),
        *(({"ansible_run_tags": ["all"], "ansible_skip_tags": [tag]}, True) for tag in ("all", "always", "tagged")),
        ({"ansible_skip_tags": ["untagged"]}, True),
    ],
)
def test_a_run_that_leaves_out_tasks_is_refused(tags: dict[str, list[str]], is_refused: bool) -> None:
    """The playbooks define no tags but ``always``."""
    with pytest.raises(InvalidInput, match="without tags and skipped tags") if is_refused else nullcontext():
        playbook._check_run({"ansible_version": {"full": "2.99.0"}, **tags})


@pytest.mark.parametrize(
    ("more", "words"), [({}, "run the playbook"), ({"awx_job_id": 7}, "choose an execution environment")]
)
def test_an_unsupported_ansible_core_is_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^cwagent\.iam requires ansible-core .*, and this is 2\.15\.13: {words}"):
        playbook._check_run({"ansible_version": {"full": "2.15.13"}, **more})


@pytest.mark.parametrize("path", sorted((PLUGINS.parent / "playbooks").glob("[!_]*.yml")), ids=lambda path: path.stem)
def test_the_first_task_of_every_playbook_refuses_an_unsupported_ansible_core(path: Path) -> None:
    """Before that task, a playbook uses nothing that an older version lacks."""
    play = yaml.safe_load(path.read_text())[0]
    while "import_playbook" in play:
        play = yaml.safe_load((path.parent / play["import_playbook"]).read_text())[0]
    first = play["tasks"][0]
    assert "cwagent.iam.cwagent_inputs" in first
    assert first["tags"] == ["always"]
