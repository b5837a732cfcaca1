"""The configurations, the host that stores them, and the requirements of playbooks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from input_runs import (
    EU,
    NOPE,
    ONE_FILE,
    US,
    WEB,
    a_run,
    an_account,
    assert_problem,
    default_of,
    inputs_of,
    problems_of,
    run_with_values,
)

NAME = "AmazonCloudWatch-x"
LISTED = [{"name": NAME, "file": "b.json"}]
PLACES = {"the controller": "localhost", "host adm": "adm", "host db": "db"}
SOURCES = ["instance", "run_command", "auto", "controller", "onprem"]
FROM = {source: {**ONE_FILE, "cwagent_store_config_from": source} for source in SOURCES}


def configs_of(**options):
    return inputs_of(**options)["configs"]


def test_the_configurations():
    assert configs_of(controller=ONE_FILE) == [{"name": "AmazonCloudWatch-linux", "file": "/here/a.json"}]
    assert configs_of(controller={"cwagent_configs": LISTED}) == [{"name": NAME, "file": "/here/b.json"}]


@pytest.mark.parametrize("ignored", [NAME, "AmazonCloudWatch-other"])
def test_a_fitted_policy_leaves_out_no_configuration_of_the_inventory(ignored):
    given = {"cwagent_configs": LISTED, "cwagent_ignored_parameters": ignored}
    found = problems_of(run_with_values({"localhost": given}))
    message = f"cwagent_ignored_parameters: '{NAME}' is a configuration of the inventory. Remove it there."
    assert found == ([message] if ignored == NAME else [])


@pytest.mark.parametrize("blank", [None, "", " "])
@pytest.mark.parametrize("listed_for", PLACES)
@pytest.mark.parametrize("file_for", PLACES)
def test_two_sources_of_configurations_are_one_problem_with_places_that_differ(file_for, listed_for, blank):
    def problems(file, listed):
        places = {place: {} for place in PLACES.values()}
        places[PLACES[file_for]]["cwagent_config_file"] = file
        places[PLACES[listed_for]]["cwagent_configs"] = listed
        return problems_of(run_with_values(places))

    shown = ("", "") if file_for == listed_for else (f" ({file_for})", f" ({listed_for})")
    message = (
        f"cwagent_config_file{shown[0]} and cwagent_configs{shown[1]} are both set, so it is not clear what to store. "
        "Set only one of the two. An extra variable (-e) counts beside the inventory's."
    )
    assert problems("a.json", LISTED) == [message]
    assert problems(blank, LISTED) == problems("a.json", blank) == problems("a.json", []) == []


def test_a_file_on_the_command_line_is_refused_beside_listed_configurations():
    """Ansible gives the controller and each host both."""
    both = {**ONE_FILE, "cwagent_configs": LISTED}
    [problem] = problems_of(run_with_values(dict.fromkeys(("localhost", "web", "adm", "db"), both)))
    assert problem.startswith("cwagent_config_file and cwagent_configs are both set, ")


@pytest.mark.parametrize("listed", [[], LISTED])
@pytest.mark.parametrize("name", [None, "", " ", default_of("cwagent_parameter_name"), NAME])
@pytest.mark.parametrize("place", PLACES.values())
def test_a_parameter_name_beside_listed_configurations_is_a_problem(place, name, listed):
    """AWX asks for the name and passes a blank where nobody answers."""
    places = {"localhost": {}, place: {"cwagent_parameter_name": name}}
    places["localhost"] = {**places["localhost"], "cwagent_configs": listed}
    problem = (
        f"cwagent_parameter_name is '{NAME}', but each entry of cwagent_configs has its own name. Unset "
        "cwagent_parameter_name."
    )
    assert problems_of(run_with_values(places)) == [problem] * (bool(listed) and name == NAME)


[ENTRY] = LISTED
HOME_ENTRY, AWAY_ENTRY = ({**ENTRY, "regions": [region]} for region in (EU, US))


def test_a_configuration_can_name_its_regions():
    controller = {"cwagent_configs": [HOME_ENTRY, {**AWAY_ENTRY, "regions": ""}]}
    found = {"name": NAME, "file": "/here/b.json"}
    hosts = {"web": {**WEB, "cwagent_region": US}}
    assert configs_of(hosts=hosts, controller=controller) == [{**found, "regions": [EU]}, found]


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ([HOME_ENTRY, AWAY_ENTRY], 0),
        ([HOME_ENTRY, HOME_ENTRY], 1),
        ([HOME_ENTRY, {**AWAY_ENTRY, "regions": [US, EU]}], 1),
        ([HOME_ENTRY, ENTRY], 0),  # the hosts are in another region
        ([AWAY_ENTRY, ENTRY], 1),
    ],
)
def test_configurations_of_one_name_are_for_different_regions(entries, count):
    duplicate = f"cwagent_configs has a duplicate parameter name: {NAME}."
    assert problems_of(controller={"cwagent_configs": entries}) == [duplicate] * count


@pytest.mark.parametrize(
    ("groups", "controller", "host"),
    [
        *(({"ec2_admin": ["adm"]}, FROM[source], "adm") for source in ("instance", "run_command", "auto")),
        ({"ec2_admin": ["adm"]}, {}, ""),
        ({"onprem_admin": ["ops"]}, FROM["onprem"], "ops"),
        ({"other": ["x"]}, FROM["controller"], "localhost"),
        ({"onprem_servers": ["db"]}, {}, ""),
    ],
)
def test_the_host_that_stores(groups, controller, host):
    inputs = inputs_of(groups, controller=controller)
    assert (inputs["stores"] and inputs["storing_host"]) == (host or False)


@pytest.mark.parametrize("source", SOURCES)
def test_a_window_is_opened_for_the_admin_instance_whatever_stores(source):
    groups = {"ec2_admin": ["adm"], "onprem_admin": ["ops"]}
    inputs = inputs_of(groups, controller={"cwagent_store_config_from": source}, requires=["admin_instance"])
    found = {name: inputs[name] for name in ("stores", "storing_host", "store_config_from")}
    assert found == {"stores": True, "storing_host": "adm", "store_config_from": "instance"}


@pytest.mark.parametrize("source", SOURCES[:-1])
@pytest.mark.parametrize("requires", [[], ["key_store"], ["key_store", "rotation"], ["confirmation"], ["removal"]])
def test_servers_on_ec2_need_no_admin_instance_where_nothing_is_stored(source, requires):
    controller = {
        "cwagent_store_config_from": source,
        "cwagent_confirm": "remove_servers" if "removal" in requires else "teardown",
        "cwagent_remove_servers": ["db"],
    }
    groups = {"ec2_servers": ["web"], "onprem_servers": ["db"]}
    assert not inputs_of(groups, controller=controller, requires=requires)["stores"]


def store_from(source):
    return {**ONE_FILE, "cwagent_store_config_from": source}


FROM_CONTROLLER = store_from("controller")
WEB_ONLY, DB_ONLY, OTHER_ONLY = {"ec2_servers": ["web"]}, {"onprem_servers": ["db"]}, {"other": ["x"]}
TWO_ADMINS = {"ec2_admin": ["adm", "web"]}
NEEDS_ADMIN = "The group cwagent_ec2_admin must have exactly one host"


@pytest.mark.parametrize(
    ("groups", "controller", "words"),
    [
        ({}, {}, ["The inventory has no hosts"]),
        (OTHER_ONLY, {}, ["No host of the inventory is in one of the groups cwagent_ec2_servers, "]),
        (OTHER_ONLY, {"cwagent_store_config_from": "controller"}, ["No host of the inventory"]),
        (WEB_ONLY, ONE_FILE, [NEEDS_ADMIN, "but has none", "To store it"]),
        *((DB_ONLY, store_from(source), [NEEDS_ADMIN]) for source in ("instance", "run_command", "auto")),
        (TWO_ADMINS, ONE_FILE, [NEEDS_ADMIN, "has adm, web"]),
        (TWO_ADMINS, {}, ["cwagent_ec2_admin must have at most one host, but has adm, web."]),
        (TWO_ADMINS, FROM_CONTROLLER, ["must have at most one host, but has adm, web."]),
        ({"onprem_admin": ["a", "b"]}, {}, ["cwagent_onprem_admin must have at most one host", "has a, b"]),
        (DB_ONLY, store_from("onprem"), ["exactly one when cwagent_store_config_from is onprem", "has none"]),
    ],
)
def test_groups_that_do_not_fit_are_one_problem(groups, controller, words):
    assert_problem(a_run(groups, controller=controller), words)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("requires", [["confirmation"], ["key_store", "rotation"]])
def test_a_playbook_that_stores_nothing_needs_no_host_for_it(source, requires):
    controller = {**store_from(source), "cwagent_confirm": "teardown"}
    assert problems_of({**WEB_ONLY, **DB_ONLY}, controller=controller, requires=requires) == []


@pytest.mark.parametrize(
    ("groups", "more"),
    [
        ({}, {}),
        (OTHER_ONLY, {"requires": ["confirmation"]}),
        ({"ec2_admin": ["adm"], **WEB_ONLY}, {"requires": ["admin_instance"], "limit": {"localhost"}}),
    ],
)
def test_in_awx_no_message_names_the_command_line(groups, more):
    problems = problems_of(groups, in_awx=True, **more)
    assert problems
    assert [problem for problem in problems if re.search(r"(?<!\w)-", problem)] == []


def test_in_awx_a_slice_of_a_job_lacks_hosts():
    [problem] = problems_of(WEB_ONLY, controller=ONE_FILE, in_awx=True)
    assert problem.endswith("In AWX, each slice of a job sees only some of the hosts; set job_slice_count to 1.")


@pytest.mark.parametrize(
    ("groups", "requires", "controller", "problem"),
    [
        (None, "configs", {}, "There is no configuration."),
        (None, "configs_only", {}, "There is no configuration."),
        (None, "configs", ONE_FILE, ""),
        (None, "key_store", {"cwagent_config_version": "previous"}, "cwagent_config_version is for store_config.yml."),
        (None, "admin_instance", {}, ""),
        (DB_ONLY, "admin_instance", {}, NEEDS_ADMIN),
    ],
)
def test_the_requirements_of_a_playbook(groups, requires, controller, problem):
    assert_problem(a_run(groups, controller=controller, requires=[requires]), problem)


@pytest.mark.parametrize("answer", [None, "", " ", "teardown", " teardown ", "remove_servers", "true", True, NOPE])
@pytest.mark.parametrize(
    ("requires", "own"),
    [("confirmation", "teardown"), ("removal", "remove_servers"), ("rotation", None), ("key_store", None)],
)
def test_each_deletion_has_a_confirmation_that_confirms_no_other(requires, own, answer):
    controller = {"cwagent_remove_servers": ["db"], "cwagent_confirm": answer}
    problems = problems_of(controller=controller, requires=[requires])
    text = answer.strip() if isinstance(answer, str) else answer
    asks = [each for each in problems if each.endswith(f"To confirm, set cwagent_confirm to {own}.")]
    assert len(asks) == (own is not None and text != own)
    assert len(problems) == len(asks) + (text not in (None, "", "teardown", "remove_servers"))


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"controller": ONE_FILE, "limit": ["localhost", "web"]}, ["adm"]),
        ({"controller": ONE_FILE, "limit": ["localhost", "adm"]}, []),
        ({"controller": FROM_CONTROLLER, "limit": ["localhost"]}, []),
        ({"limit": ["localhost"]}, []),
        ({"limit": ["localhost"], "requires": ["admin_instance"]}, ["adm"]),
    ],
)
def test_a_limit_that_leaves_out_the_host_that_stores_is_a_problem(options, hosts):
    assert problems_of(**options) == [
        f"The limit leaves out host {host}, which stores the configuration. Run without it." for host in hosts
    ]


@pytest.mark.parametrize(
    ("limit", "undelivered"), [(None, []), (["localhost", "a", "b"], []), (["localhost", "a"], ["b"]), ([], ["a", "b"])]
)
def test_a_limit_can_leave_out_hosts_to_which_a_key_is_delivered(limit, undelivered):
    inputs = inputs_of({"onprem_servers": ["a", "b"]}, controller={"cwagent_deliver_keys": True}, limit=limit)
    assert inputs["undelivered_hosts"] == undelivered


@pytest.mark.parametrize(
    ("store", "prefix"),
    [("parameter_store", "/aws/"), ("parameter_store", "AmazonCloudWatch-"), ("secrets_manager", "a b")],
)
def test_a_bad_prefix_is_a_problem_where_keys_are_saved(store, prefix):
    variables = {"cwagent_key_store_prefix": prefix}
    [problem] = problems_of(controller={**variables, "cwagent_key_store": store})
    assert problem.startswith("cwagent_key_store_prefix: ")
    assert problems_of({"ec2_admin": ["adm"]}, controller={**variables, "cwagent_key_store": store}) == []
    assert problems_of(controller=variables) == []


CORE, OLDER = "AmazonSSMManagedInstanceCore", "AmazonEC2RoleforSSM"
NO_USERS = {"ec2_servers": ["web"], "ec2_admin": ["adm"]}
ADMIN_USER_ONLY = {**NO_USERS, "onprem_admin": ["ops"]}
READS_ALL = {"cwagent_key_store": "parameter_store", "cwagent_ssm_policy": CORE}


@pytest.mark.parametrize(
    ("changes", "groups", "requires", "count"),
    [
        ({}, None, ["key_store"], 1),
        ({"cwagent_ssm_policy": OLDER, "cwagent_key_store_kms_key_id": " "}, None, ["key_store"], 1),
        ({}, None, ["key_store", "rotation"], 1),
        ({}, ADMIN_USER_ONLY, ["key_store"], 1),
        ({"cwagent_key_store_kms_key_id": "alias/keys"}, None, ["key_store"], 0),
        *(({"cwagent_ssm_policy": policy}, None, ["key_store"], 0) for policy in ("none", "")),
        *(({"cwagent_key_store": store}, None, ["key_store"], 0) for store in ("secrets_manager", "file")),
        ({}, NO_USERS, ["key_store"], 0),
        *(({}, None, requires, 0) for requires in ([], ["audit"], ["servers"])),
    ],
)
def test_keys_that_a_policy_of_the_run_could_read_need_a_kms_key(changes, groups, requires, count):
    controller = {**READS_ALL, **changes}
    message = (
        "cwagent_key_store_kms_key_id is not set, cwagent_key_store is parameter_store, and cwagent_ssm_policy is "
        f"{controller['cwagent_ssm_policy']}. That policy allows reading every parameter that the AWS managed key "
        "encrypts, including the saved access keys. Set cwagent_key_store_kms_key_id to a KMS key that the servers "
        "cannot use."
    )
    assert problems_of(groups, controller=controller, requires=requires) == count * [message]


TWO = {"cwagent_configs": [{"name": NAME, "file": "b.json"}, {"name": f"{NAME}y", "file": "c.json"}]}
EVERYWHERE = {"cwagent_configs": [{"name": NAME, "file": "b.json", "regions": [EU, US]}]}


@pytest.mark.parametrize(
    ("version", "configs"),
    [
        ("41", ONE_FILE),
        (41, ONE_FILE),
        (" ", ONE_FILE),
        ("previous", ONE_FILE),
        ("previous", TWO),
        ("previous", EVERYWHERE),
        (f"{NAME}=41", TWO),
        (f"{NAME}=41,{NAME}y=previous", TWO),
        (f"{NAME}=previous", EVERYWHERE),
    ],
)
def test_a_version_to_store_again(version, configs):
    controller = {**configs, "cwagent_config_version": version}
    found = inputs_of({"ec2_admin": ["adm"]}, controller=controller, requires=["configs"])
    assert found["config_version"] == str(version).strip()


NAMED = [{"name": NAME}]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"cwagent_parameter_name": NAME},
        {"cwagent_config_file": "missing.json"},
        {"cwagent_configs": NAMED},
        {"cwagent_configs": [{"name": NAME, "file": "missing.json"}]},
    ],
)
@pytest.mark.parametrize(
    ("version", "requires"),
    [
        ("previous", ["configs"]),
        (41, ["configs"]),
        (" 41 ", ["configs"]),
        ("{}=previous", ["configs"]),
        *((version, ["audit", "history"]) for version in (None, "", " ")),
    ],
)
def test_a_playbook_that_reads_versions_needs_names_and_no_files(given, version, requires):
    """AWX asks for the path at each launch, so the inventory has none."""
    name = NAME if NAME in str(given) else "AmazonCloudWatch-linux"
    wanted = version.format(name) if isinstance(version, str) else version
    found = inputs_of({"ec2_admin": ["adm"]}, controller={**given, "cwagent_config_version": wanted}, requires=requires)
    assert [each["name"] for each in found["configs"]] == [name]
    assert found["config_names"] == {US: [name]}
    assert found["stores"]


@pytest.mark.parametrize("file", [{}, {"file": None}, {"file": ""}, {"file": " "}])
@pytest.mark.parametrize(
    ("requires", "needs_file"),
    [("configs", True), ("configs_only", True), ("key_store", True), ("audit", False), ("admin_instance", False)],
)
def test_an_entry_needs_a_file_where_it_is_stored(requires, needs_file, file):
    configs = {"cwagent_configs": [{"name": NAME, **file}]}
    found = problems_of({"ec2_admin": ["adm"]}, controller=configs, requires=[requires])
    message = f"cwagent_configs: {NAME} has no file. Set the path of the configuration."
    assert found == ([message] if needs_file else [])


@pytest.mark.parametrize("requires", ["configs", "configs_only", "key_store"])
@pytest.mark.parametrize("version", [None, "", " ", "latest", ["41"]])
def test_files_are_read_unless_a_version_is_stored_again(version, requires):
    """Beside a version that is not valid, the files are read, so that one run shows all problems."""
    controller = {"cwagent_config_file": "missing.json", "cwagent_config_version": version}
    found = problems_of({"ec2_admin": ["adm"]}, controller=controller, requires=[requires])
    assert "cwagent_config_file: there is no file missing.json in /here." in found


ONLY_ONE = "cwagent_config_version: a number is the version of one configuration in one region and account."


@pytest.mark.parametrize(
    ("version", "configs", "requires", "words"),
    [
        ("latest", ONE_FILE, "configs", "cwagent_config_version: 'latest' is not a version."),
        ("41", TWO, "configs", ONLY_ONE),
        ("41", EVERYWHERE, "configs", ONLY_ONE),
        (f"{NAME}=41", EVERYWHERE, "configs", ONLY_ONE),
        ("x=41", TWO, "configs", "cwagent_config_version: there is no configuration 'x'."),
        ("previous", ONE_FILE, "key_store", "cwagent_config_version is for store_config.yml."),
        ("previous", ONE_FILE, "configs_only", "cwagent_config_version is for store_config.yml."),
        ("previous", ONE_FILE, "apply", "cwagent_config_version is for store_config.yml."),
    ],
)
def test_a_version_that_no_configuration_has_is_a_problem(version, configs, requires, words):
    controller = {**configs, "cwagent_config_version": version}
    assert any(
        each.startswith(words)
        for each in problems_of({"ec2_admin": ["adm"]}, controller=controller, requires=[requires])
    )


@pytest.mark.parametrize(("limit", "is_refused"), [(None, True), (["shop", "blog"], True), (["shop"], False)])
def test_a_number_is_the_version_in_one_account(limit, is_refused):
    files = {**ONE_FILE, "cwagent_config_version": "41"}
    run = an_account(files, {"ec2_admin": ["adm"]}, others={"blog": {}}, requires=["configs"], limit=limit)
    assert any(each.startswith(ONLY_ONE) for each in problems_of(run)) == is_refused


def label_problems(label, names, requires, regions=((), ())):
    configs: list[dict[str, Any]] = [{"name": f"AmazonCloudWatch-{name}", "file": "b.json"} for name in names]
    configs = [{**each, "regions": [*of_it]} if of_it else each for each, of_it in zip(configs, regions, strict=False)]
    controller = {"cwagent_config_label": label, "cwagent_configs": configs}
    return [each for each in problems_of(controller=controller, requires=requires) if "label" in each]


@pytest.mark.parametrize(
    ("label", "names", "words"),
    [
        ("stable", ["linux", "web"], ""),
        ("1a", ["linux"], "cwagent_config_label: label '1a' is not valid"),
        ("cwagent-applied", ["linux"], "cwagent_config_label: label 'cwagent-applied' is the one with which apply.yml"),
        (
            "stable",
            ["linux", "linux_stable"],
            "would save AmazonCloudWatch-linux_stable in the file of a version or",
        ),
        ("", ["linux", "linux_stable"], ""),
        ("", ["linux", "linux_7"], "would save AmazonCloudWatch-linux_7 in the file of a version or"),
    ],
)
@pytest.mark.parametrize("requires", [["configs"], ["key_store"], ["configs_only"], ["servers"], ["servers", "apply"]])
def test_a_label_is_valid_and_gives_each_configuration_its_file(label, names, words, requires):
    found = label_problems(label, names, requires)
    assert (len(found), words in "".join(found)) == (bool(words), True)


@pytest.mark.parametrize(("other", "count"), [([EU], 0), ([US], 1), ([US, EU], 1)])
def test_configurations_of_different_regions_have_their_own_files(other, count):
    assert len(label_problems("stable", ["linux", "linux_stable"], ["servers"], [[US], other])) == count


@pytest.mark.parametrize(
    "requires",
    [
        *(["restore"], ["confirmation"], ["key_store", "rotation"], ["audit"], ["audit", "history"]),
        *(["removal", "one_account"], ["admin_instance"], ["configs_only", "policy"]),
    ],
)
def test_a_label_keeps_no_other_playbook_from_its_work(requires):
    assert label_problems("1a", ["linux", "linux_1a"], requires) == []


@pytest.mark.parametrize(("limit", "moves"), [(None, True), (["web", "adm"], True), (["web"], False)])
def test_a_limit_that_leaves_out_a_server_moves_no_label(limit, moves):
    assert inputs_of({"ec2_servers": ["web"], "ec2_admin": ["adm"]}, limit=limit)["moves_label"] is moves
