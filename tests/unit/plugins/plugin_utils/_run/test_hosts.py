"""The hosts of a run: their regions, instances and users, those whose keys are replaced, and those that leave."""

from __future__ import annotations

from typing import Any

import pytest
from input_runs import (
    ADMIN,
    ADMIN_USER,
    AP,
    EU,
    HYBRID,
    INSTANCES,
    NOPE,
    ONE_FILE,
    SHARED,
    US,
    USER,
    WEB,
    a_run,
    an_account,
    assert_problem,
    inputs_of,
    interpreted,
    problems_of,
)

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.given import REQUIREMENTS

UNICODE = "日本"
NO_REGION = (
    "There is no AWS region. Set cwagent_region for the hosts, or AWS_REGION, or a region in the profile of the AWS "
    "configuration."
)


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        *(
            (variables, "instance_id is not set; it is the ID of the EC2 instance.")
            for variables in ({}, {"instance_id": " "}, {"instance_id": None})
        ),
        ({"instance_id": NOPE}, "instance_id cannot be evaluated: 'nope' is undefined."),
        ({"instance_id": {"a": 1}}, "instance_id must be text, not '{'a': 1}'."),
        ({"instance_id": ["i-01234567"]}, "instance_id must be text, not '['i-01234567']'."),
        *(({"instance_id": each}, f"instance_id: '{each}' is not a valid EC2 instance ID: ") for each in (5, UNICODE)),
        *(
            ({**WEB, "cwagent_region": each}, f"cwagent_region: '{each}' is not the name of an AWS region, ")
            for each in ("x", "eu-central-\uff11")
        ),
        ({**WEB, "placement": {"region": "x"}}, "placement.region: 'x' is not the name of an AWS region, "),
        ({**WEB, "placement": {"region": ["x"]}}, "placement.region must be text, not '['x']'."),
        ({**WEB, "placement": NOPE}, "placement.region cannot be evaluated: 'nope' is undefined."),
    ],
)
def test_a_bad_variable_of_an_ec2_host_is_one_problem_that_names_the_host(variables, problem):
    inputs, [found] = interpreted(a_run(hosts={"web": variables}))
    assert found.startswith(f"Host web: {problem}")
    assert inputs["instances"][US][-1] == ADMIN["instance_id"]


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, US),
        ({"cwagent_region": EU}, EU),
        ({"cwagent_region": EU, "placement": {"region": "eu-west-1"}}, EU),
        ({"cwagent_region": EU, "placement": NOPE}, EU),
        ({"placement": {"region": EU}}, EU),
        ({"cwagent_region": "", "placement": {"region": EU}}, EU),
        *(({"placement": each}, US) for each in ({"zone": "a"}, "rack 4", None)),
    ],
)
def test_the_region_of_a_host(variables, region):
    inputs = inputs_of({"ec2_admin": ["adm"]}, {"adm": {**ADMIN, **variables}})
    assert (inputs["storing_region"], inputs["region"]) == (region, US)
    assert (inputs["instances"], inputs["regions"]) == ({region: [ADMIN["instance_id"]]}, [region])


@pytest.mark.parametrize(
    ("of_run", "of_tools", "of_host", "region"),
    [
        (EU, US, None, EU),
        (EU, "", None, EU),
        (" ", US, None, US),
        (None, US, EU, US),
        (None, "", EU, EU),
        (None, "us-isob-east-1", None, "us-isob-east-1"),
    ],
)
def test_the_region_of_the_run(of_run, of_tools, of_host, region):
    hosts = {"adm": {**ADMIN, "cwagent_region": of_host}}
    assert inputs_of(None, hosts, {"cwagent_region": of_run}, of_tools)["region"] == region


def fail(_profile: str) -> str:
    raise InvalidInput("The AWS configuration cannot be read: no profile.")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"region": ""}, NO_REGION),
        ({"region": "", "controller": {"cwagent_region": "x"}}, "cwagent_region: 'x'"),
        ({"region": "x"}, "The default region of the AWS tools: 'x'"),
        ({"find_default_region": fail}, "The AWS configuration cannot be read: no profile."),
    ],
)
def test_without_any_region_there_is_one_problem(options, problem):
    [found] = problems_of(**options)
    assert found.startswith(problem)


def test_an_instance_of_two_hosts_is_listed_once():
    groups = {"ec2_servers": ["a", "b", "c"], "ec2_admin": ["a"]}
    inputs = inputs_of(groups, {"a": {**WEB, "cwagent_region": EU}, "b": WEB, "c": ADMIN})
    assert inputs["instances"] == {EU: [WEB["instance_id"]], US: [ADMIN["instance_id"]]}
    assert inputs["regions"] == [EU, US]


@pytest.mark.parametrize("attribute", ["owner", "group"])
def test_the_owner_of_the_file_with_the_key_is_text(attribute):
    """The role takes it from the host; ``test_settings.py`` has the values."""
    name = f"cwagent_key_file_{attribute}"
    hosts = {"a": {name: "agent"}, "b": {name: 1001}, "c": {name: ""}, "d": {name: ["agent"]}}
    assert problems_of({"onprem_servers": [*hosts]}, hosts) == [f"Host d: {name} must be text, not '['agent']'."]


# Users and identities


def test_a_long_host_name_needs_a_user_name():
    host = "ec2-203-0-113-25.compute-1.amazonaws.com"
    [problem] = problems_of({"ec2_admin": ["adm"], "onprem_servers": [host]})
    assert problem.startswith(f"Host {host}: '{USER.format(host)}' is not a valid user name: ")
    assert problem.endswith("Set cwagent_user_name for this host.")
    users = inputs_of({"onprem_servers": [host]}, {host: {"cwagent_user_name": "db"}})["server_users"]
    assert users == {US: ["db"]}


def test_servers_can_share_a_user():
    hosts = {"a": {"cwagent_region": EU}, "b": {"cwagent_deliver_keys": "yes"}, "c": {"cwagent_user_name": "C"}}
    inputs = inputs_of({"onprem_servers": list(hosts)}, hosts, {"cwagent_onprem_users": "shared"})
    assert inputs["server_users"] == {EU: ["CloudWatchAgentServerUser"], US: ["C"]}
    regions = [(each["key_region"], each["region"]) for each in inputs["onprem_hosts"].values()]
    assert regions == [(EU, EU), (EU, US), (US, US)]
    assert inputs["delivery_hosts"] == ["b"]


@pytest.mark.parametrize(("for_all", "own", "deliver"), [(True, None, True), (True, "no", False), (None, "yes", True)])
def test_delivery_is_a_choice_of_the_host(for_all, own, deliver):
    name = "cwagent_deliver_keys"
    assert inputs_of(None, {"db": {name: own}}, {name: for_all})["onprem_hosts"]["db"]["deliver"] is deliver


ONPREM = {"onprem_servers": ["a", "b"], "onprem_admin": ["ops"]}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({}, ""),
        (
            {"a": "U", "b": "u"},
            "cwagent_user_name: 'U' and 'u' differ only by case, and IAM treats them as the same name.",
        ),
        ({"a": ADMIN_USER.upper()}, f"'{ADMIN_USER}' would be both a server user and the admin user."),
        ({"ops": "a b"}, "Host ops: 'a b' is not a valid user name: "),
    ],
)
def test_users_must_differ_by_more_than_case(names, problem):
    variable = {"ops": "cwagent_admin_user_name"}
    hosts = {host: {variable.get(host, "cwagent_user_name"): name} for host, name in names.items()}
    inputs, problems = interpreted(a_run(ONPREM, hosts))
    assert [each[: len(problem)] for each in problems] == [problem] * bool(problem)
    assert inputs["admin_users"] == ({} if "ops" in names else {US: [ADMIN_USER]})


@pytest.mark.parametrize(
    ("controller", "hosts", "hybrid", "users", "retired"),
    [
        ({}, {"a": {}, "b": {}}, [], [USER.format("a"), USER.format("b")], []),
        (HYBRID, {"a": {}, "b": {}}, ["a", "b"], [], [USER.format("a"), USER.format("b")]),
        ({}, {"a": HYBRID, "b": {}}, ["a"], [USER.format("b")], [USER.format("a")]),
        (HYBRID, {"a": {"cwagent_onprem_identity": "key"}, "b": {}}, ["b"], [USER.format("a")], [USER.format("b")]),
        ({}, {"a": {**HYBRID, **SHARED}, "b": SHARED}, ["a"], ["shared"], []),
        (HYBRID, {"a": SHARED, "b": SHARED}, ["a", "b"], [], ["shared"]),
    ],
)
def test_the_identity_is_a_choice_of_the_host(controller, hosts, hybrid, users, retired):
    groups = {"onprem_servers": [*hosts]}
    inputs = inputs_of(groups, hosts, controller)
    assert [host for host, each in inputs["onprem_hosts"].items() if each["identity"] == "hybrid"] == hybrid
    assert inputs["delivery_hosts"] == hybrid
    assert inputs["hybrid_server_regions"] == ([US] if hybrid else [])
    assert inputs["server_users"] == ({US: users} if users else {})
    assert inputs["retired_users"] == ({US: retired} if retired else {})
    assert [host["host"] for host in inputs["servers"] if host.get("hybrid")] == hybrid
    teardown = interpreted(a_run(groups, hosts, controller, requires=["confirmation"]))[0]
    assert sorted(teardown["server_users"][US]) == sorted([*users, *retired])
    assert teardown["leaving_nodes"] == {US: [*hosts]}
    rotation = inputs_of(groups, hosts, controller, requires=["rotation"])
    assert (rotation["server_users"], rotation["delivery_hosts"]) == ({US: users} if users else {}, [])


DELIVER, OWN_KEY = {"cwagent_deliver_keys": True}, {"cwagent_onprem_identity": "key"}


@pytest.mark.parametrize(
    ("controller", "hosts", "limit", "found"),
    [
        (DELIVER, {"a": {}, "b": {}}, None, {}),
        ({}, {"a": OWN_KEY, "b": OWN_KEY}, None, {}),
        (DELIVER, {"a": OWN_KEY, "b": {}}, None, {US: ["a"]}),
        ({**DELIVER, **OWN_KEY}, {"a": {}, "b": {"cwagent_region": EU}}, None, {US: ["a"], EU: ["b"]}),
        ({**DELIVER, **OWN_KEY}, {"a": {}, "b": {}}, ["localhost", "b"], {US: ["b"]}),
        (DELIVER, {"a": {}, "b": HYBRID}, None, {US: ["a"]}),
    ],
)
def test_servers_that_may_go_back_to_access_keys_are_checked(controller, hosts, limit, found):
    """A fleet that never had hybrid servers needs no permission for them."""
    assert inputs_of({"onprem_servers": [*hosts]}, hosts, controller, limit=limit)["key_names"] == found


def test_the_name_of_a_hybrid_server_can_be_a_tag():
    hosts = {"a(b)": {**HYBRID, **SHARED}, "c": HYBRID}
    found = problems_of({"onprem_servers": [*hosts]}, hosts)
    assert any(each.startswith("Host a(b): tag 'cwagent:host': AWS allows letters, digits") for each in found)
    assert problems_of({"onprem_servers": ["c"]}, hosts) == []


def test_a_node_belongs_to_one_host():
    node = {"cwagent_node_id": "mi-0123456789abcdef0"}
    hosts = {"a": {**HYBRID, **node}, "b": HYBRID}
    assert inputs_of({"onprem_servers": [*hosts]}, hosts)["node_id"] == {"a": node["cwagent_node_id"], "b": ""}
    [problem] = problems_of({"onprem_servers": [*hosts]}, {**hosts, "b": {**HYBRID, **node}})
    assert problem == "cwagent_node_id is mi-0123456789abcdef0 for 2 hosts; a node belongs to one host."


def test_a_hybrid_server_is_registered_in_its_own_region():
    hosts = {"a": {**HYBRID, "cwagent_region": EU}, "b": {**HYBRID, **SHARED}, "c": {**SHARED, "cwagent_region": EU}}
    inputs = inputs_of({"onprem_servers": [*hosts]}, hosts)
    assert inputs["hybrid_server_regions"] == [EU, US]
    assert inputs["server_users"] == {US: ["shared"]}, "the key stays where it was saved for the first host"
    assert (inputs["onprem_hosts"]["c"]["key_region"], inputs["onprem_hosts"]["c"]["region"]) == (US, EU)


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"cwagent_hybrid_role_name": "CloudWatchAgentAdminRole"}, "every server could write to Parameter Store"),
        ({"cwagent_hybrid_role_name": "cloudwatchagentserverrole"}, "trusts either EC2 or Systems Manager"),
        ({"cwagent_key_store": "parameter_store"}, "the hybrid role has AmazonSSMManagedInstanceCore"),
        ({"cwagent_key_store": "parameter_store", "cwagent_ssm_policy": "none"}, "the hybrid role has Amazon"),
    ],
)
def test_a_problem_of_hybrid_servers_is_none_without_them(variables, problem):
    groups = {"onprem_servers": ["db"]}
    assert_problem(a_run(groups, controller={**variables, **HYBRID}, requires=["key_store"]), problem)
    assert problems_of(groups, controller=variables, requires=["key_store"]) == []


def test_the_servers_of_a_run_have_identities_and_configurations():
    """Each has its own identity, including the admin instance. An on-premises admin host is not a server."""
    groups = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["db"], "onprem_admin": ["ops"]}
    names = ["AmazonCloudWatch-db", "AmazonCloudWatch-linux"]
    hosts = {"db": {"cwagent_config_names": names, "cwagent_region": EU, "cwagent_user_name": "agent"}}
    assert inputs_of(groups, hosts)["servers"] == [
        {"host": "db", "region": EU, "user": "agent", "configs": names},
        {"host": "web", "region": US, **WEB, "configs": []},
        {"host": "adm", "region": US, **ADMIN, "configs": []},
    ]


@pytest.mark.parametrize("limit", [None, ["localhost", "a"]])
def test_the_regions_of_saved_keys_come_from_all_hosts_and_the_run(limit):
    hosts = {"adm": {**ADMIN, "cwagent_region": AP}, "a": {"cwagent_region": EU}, "o": {"cwagent_region": "eu-west-1"}}
    groups = {"ec2_admin": ["adm"], "onprem_servers": ["a"], "onprem_admin": ["o"]}
    inputs = inputs_of(groups, hosts, requires=["rotation"], limit=limit)
    assert sorted(inputs["key_store_regions"]) == [AP, EU, "eu-west-1", US]


def test_the_regions_of_saved_keys_include_the_accounts_regions():
    run = an_account({"cwagent_account_regions": [AP]}, {"onprem_servers": ["a"]})
    assert inputs_of(run)["key_store_regions"] == [AP]


@pytest.mark.parametrize(
    ("groups", "limit", "problem"),
    [
        ({"ec2_servers": ["web"]}, None, ""),
        ({"ec2_servers": ["web"], "onprem_servers": ["db"]}, {"localhost", "db"}, ""),
        ({"onprem_admin": ["db"]}, None, "There are no servers: no host of the inventory is in one of the groups"),
        ({"ec2_servers": ["web"]}, {"localhost"}, "The limit leaves out all hosts of the groups cwagent_ec2_servers"),
    ],
)
def test_a_playbook_that_needs_servers(groups, limit, problem):
    assert_problem(a_run(groups, requires=["servers"], limit=limit), problem)


WITH_KEYS = {"onprem_servers": ["a", "b", "c"], "onprem_admin": ["o"], "ec2_admin": ["adm"]}
USER_A = USER.format("a")


@pytest.mark.parametrize(
    ("limit", "servers", "admins", "delivered", "undelivered"),
    [
        (None, {EU: [USER_A], US: ["shared"]}, {US: [ADMIN_USER]}, ["a", "b"], ["c"]),
        (["localhost", "a"], {EU: [USER_A]}, {}, ["a"], []),
        (["localhost", "b"], {US: ["shared"]}, {}, ["b"], ["c"]),
        (["localhost", "c"], {US: ["shared"]}, {}, [], ["b", "c"]),
        (["localhost", "o"], {}, {US: [ADMIN_USER]}, [], []),
    ],
)
def test_a_limit_chooses_whose_keys_are_rotated(limit, servers, admins, delivered, undelivered):
    """The hosts b and c share a user, which is saved in the region of b."""
    deliver = {"cwagent_deliver_keys": True}
    hosts = {"a": {"cwagent_region": EU, **deliver}, "b": {**SHARED, **deliver}, "adm": ADMIN}
    hosts["c"] = {**SHARED, "cwagent_region": EU, "cwagent_deliver_keys": False}
    controller = {**ONE_FILE, "cwagent_revoke_old": True}
    inputs = inputs_of(WITH_KEYS, hosts, controller, limit=limit, requires=["rotation"])
    assert (inputs["server_users"], inputs["admin_users"]) == (servers, admins)
    found = " ".join(inputs["notices"])
    named = {"This run delivers the new access key to": delivered, "so do that yourself": undelivered}
    assert [f"{words}: {', '.join(each)}." in found for words, each in named.items()] == [*map(bool, named.values())]
    assert inputs["undelivered_hosts"] == [host for host in undelivered if host == "b"]


@pytest.mark.parametrize(("limit", "users"), [({"shop"}, ["a", "b"]), ({"shop", "a"}, ["a"]), (None, ["a", "b"])])
def test_a_limit_that_names_only_accounts_chooses_all_users_of_each(limit, users):
    inputs = inputs_of(an_account({}, {"onprem_servers": ["a", "b"]}, limit=limit, requires=["rotation"]))
    assert inputs["server_users"] == {US: [USER.format(host) for host in users]}


NONE_LEFT = (
    "The limit leaves out all hosts of the groups cwagent_onprem_servers and cwagent_onprem_admin. Name the hosts "
    "whose access keys to replace in it."
)


@pytest.mark.parametrize(("groups", "problem"), [(WITH_KEYS, NONE_LEFT), ({"ec2_admin": ["adm"]}, "")])
def test_a_limit_without_a_host_that_has_a_key_is_a_problem(groups, problem):
    assert_problem(a_run(groups, {"adm": ADMIN}, requires=["rotation"], limit=["localhost"]), problem)


@pytest.mark.parametrize("revoke_old", [False, True])
@pytest.mark.parametrize(
    ("controller", "now"),
    [
        ({}, False),
        ({"cwagent_key_max_age_days": 1}, False),
        ({"cwagent_rotate_now": False, "cwagent_key_max_age_days": 1}, False),
        ({"cwagent_rotate_now": True}, True),
        ({"cwagent_rotate_now": "true", "cwagent_key_max_age_days": 0}, True),
    ],
)
def test_keys_are_replaced_at_their_age_or_now(controller, now, revoke_old):
    """Replacing all keys now is one wish, and deactivating the old ones early another."""
    inputs = inputs_of(controller={**controller, "cwagent_revoke_old": revoke_old}, requires=["rotation"])
    assert (inputs["rotate_now"], inputs["revoke_old"]) == (now, revoke_old)
    assert inputs["key_max_age_days"] == controller.get("cwagent_key_max_age_days", 90)


NO_LIMIT = (
    "cwagent_key_max_age_days is 0, which means no limit and is only for cwagent.iam.audit. Set the age in days at "
    "which to replace an access key. To replace all keys now, set cwagent_rotate_now to true."
)


@pytest.mark.parametrize("rotate_now", [None, "", False, True])
@pytest.mark.parametrize("zero", [0, "0"])
@pytest.mark.parametrize("requires", [[], *([each] for each in REQUIREMENTS)])
def test_an_age_without_limit_is_refused_by_a_rotation_that_depends_on_it(requires, zero, rotate_now):
    controller = {"cwagent_key_max_age_days": zero, "cwagent_rotate_now": rotate_now}
    inputs, found = interpreted(a_run(controller=controller, requires=requires))
    assert inputs["key_max_age_days"] == 0
    is_refused = requires == ["rotation"] and rotate_now is not True
    assert [each for each in found if "cwagent_key_max_age_days" in each] == [NO_LIMIT] * is_refused


REVOKED = (
    "Each access key that this run replaces is deactivated as soon as the new one is saved. Until the server has the "
    "new one, its agent cannot send."
)


@pytest.mark.parametrize(
    ("delivers", "revokes", "more"),
    [
        (True, True, " This run delivers the new access key to: db."),
        (False, True, " It does not deliver to these, so do that yourself: db."),
        (True, False, None),
    ],
)
def test_a_run_lists_agents_that_cannot_send_without_their_new_key(delivers, revokes, more):
    hosts = {"db": {"cwagent_deliver_keys": delivers}}
    variables = {"cwagent_rotate_now": True, "cwagent_revoke_old": revokes}
    inputs = inputs_of({"onprem_servers": ["db"]}, hosts, variables, requires=["key_store", "rotation"])
    assert inputs["notices"] == ([] if more is None else [f"{REVOKED}{more}"])


@pytest.mark.parametrize(
    ("sizes", "revoke", "limit", "count"),
    [
        *((sizes, True, None, 1) for sizes in (["1", "100%"], ["1"], "50%")),
        *((sizes, True, None, 0) for sizes in (["100%"], None, "", "100%")),
        (["1", "100%"], False, None, 0),
        (["1", "100%"], True, ["shop"], 0),
    ],
)
def test_access_keys_are_not_revoked_long_before_new_ones_are_delivered(sizes, revoke, limit, count):
    account = {"cwagent_batch_size": sizes, "cwagent_revoke_old": revoke, "cwagent_rotate_now": True}
    problems = problems_of(an_account(account, others={"blog": {}}, requires=["rotation"], limit=limit))
    assert len([each for each in problems if each.startswith("cwagent_revoke_old is set, and")]) == count


ALL_GROUPS = {"ec2_servers": ["web"], "ec2_admin": ["adm"], "onprem_servers": ["a", "b", "c"], "onprem_admin": ["o"]}
"""Host a has its own user, and Ansible delivers its key. Hosts b and c share a user."""
USER_A, GONE, GONE_ID, NODE = USER.format("a"), USER.format("gone"), "i-0123456789abcdef9", "mi-0123456789abcdef0"
HOST = "gone"  # its user is GONE by default
LONG = 50 * "x"
NOTHING = {"users": {}, "instances": {}, "key_hosts": [], "notes": [], "default_users": {}, "optional_users": []}


def confirmed(*names, **variables):
    return {"cwagent_remove_servers": list(names), "cwagent_confirm": "remove_servers", **variables}


def removal_of(*names, **variables):
    """The input, and the problems, of a removal in two regions."""
    own = {"cwagent_deliver_keys": True, "cwagent_region": EU}
    shared = {"cwagent_user_name": "shared", "cwagent_region": US}
    hosts: dict[str, Any] = {**INSTANCES, "a": own, "b": shared, "c": shared}
    inputs, problems = interpreted(a_run(ALL_GROUPS, hosts, confirmed(*names, **variables), requires=["removal"]))
    return inputs["removal"], problems


def take_out(hosts):
    return f"Take {hosts} out of the inventory: cwagent.iam.site would manage it again."


UNSET = "The access key on {} was not looked for: cwagent_deliver_keys is not set."
KEPT = "User 'shared' of b was kept, because c has it too. b knows its access key: cwagent.iam.rotate_keys replaces it."
LEAVES = {"users": {EU: [USER_A]}, "key_hosts": ["a"], "notes": [take_out("a")]}


@pytest.mark.parametrize(
    ("names", "things"),
    [
        (["a"], LEAVES),
        (["web"], {"instances": {US: [WEB["instance_id"]]}, "notes": [take_out("web")]}),
        (["b", "c"], {"users": {US: ["shared"]}, "notes": [UNSET.format("b, c"), take_out("b, c")]}),
        (["b"], {"notes": [KEPT, UNSET.format("b"), take_out("b")]}),
        ([f"{EU}:{GONE}", f"{US}:{GONE_ID}"], {"users": {EU: [GONE]}, "instances": {US: [GONE_ID]}}),
        ([f"{EU}:{GONE}", f"{US}:{GONE}", f"{US}:{GONE}"], {"users": {EU: [GONE], US: [GONE]}}),
        ([GONE, f"{US}:{GONE}"], {"users": {US: [GONE]}}),
        (["a", f"{US}:{USER_A}"], {**LEAVES, "users": {EU: [USER_A], US: [USER_A]}}),
        ([GONE, GONE, "a"], {**LEAVES, "users": {US: [GONE], EU: [USER_A]}}),
        ([USER_A, "a"], LEAVES),
    ],
)
def test_the_things_of_servers_that_leave(names, things):
    removal, problems = removal_of(*names)
    assert problems == []
    removal.pop("nodes")
    remaining = removal.pop("remaining_instances")
    assert removal == {**NOTHING, **things}
    everything = [each for found in (remaining, removal["instances"]) for ids in found.values() for each in ids]
    assert sorted({*everything} - {GONE_ID}) == sorted(host["instance_id"] for host in INSTANCES.values())
    assert len(everything) == len(set(everything))


def test_a_user_that_leaves_can_have_the_name_of_a_host_whose_user_stays():
    hosts = {host: {"cwagent_user_name": user} for host, user in {"a": "shared", "b": "a", "c": "shared"}.items()}
    inputs = inputs_of(
        {"onprem_servers": [*hosts]}, hosts, confirmed("a", "b", cwagent_region=EU), requires=["removal"]
    )
    assert inputs["removal"]["users"] == {EU: ["a"]}


def test_a_node_that_is_named_is_no_user():
    removal, problems = removal_of(NODE, f"{EU}:{NODE}")
    assert (removal["users"], removal["nodes"], problems) == ({}, {EU: [NODE, NODE], US: [NODE]}, [])


def test_the_node_and_the_earlier_user_of_a_hybrid_server_leave():
    hosts = {"a": HYBRID, "b": {**HYBRID, "cwagent_region": EU}}
    controller = confirmed("a", f"{EU}:gone", GONE_ID, cwagent_key_store="file")
    removal = interpreted(a_run({"onprem_servers": [*hosts]}, hosts, controller, requires=["removal"]))[0]["removal"]
    assert removal["nodes"] == {US: ["a"], EU: ["gone"]}
    assert removal["optional_users"] == removal["users"][US] == [USER_A]
    assert removal["key_hosts"] == ["a"]


@pytest.mark.parametrize(
    ("names", "users", "defaults"),
    [
        ([HOST], {US: [HOST, GONE]}, {HOST: GONE}),
        ([f"{EU}:{HOST}"], {EU: [HOST, GONE]}, {HOST: GONE}),
        ([HOST, GONE], {US: [HOST, GONE]}, {}),
        (["A"], {US: ["A"]}, {}),
        ([LONG], {US: [LONG]}, {}),
    ],
    ids=["host", "region", "both", "user that stays", "long name"],
)
def test_an_unknown_name_can_belong_to_an_earlier_host(names, users, defaults):
    removal, problems = removal_of(*names)
    assert (removal["users"], removal["default_users"], problems) == (users, defaults, [])


UNKNOWN_REGION = "cwagent_remove_servers: the region of '{}' is not known. Put it before the name, such as {}:{}."
HYBRID_A = {"cwagent_confirm": "", **HYBRID}


@pytest.mark.parametrize(
    ("names", "variables", "problem"),
    [
        ([], {}, "No server is named. Set cwagent_remove_servers to "),
        (["a"], {"cwagent_confirm": ""}, f"Users: {USER_A}. Hybrid servers: none. Instances: none. To confirm, set "),
        (
            [HOST],
            {"cwagent_confirm": ""},
            f"Users: {HOST} ({GONE} if there is no such user). Hybrid servers: {HOST} (if it is registered).",
        ),
        # Its key is saved in two regions, and it is named once.
        (
            [f"{EU}:{GONE}", f"{US}:{GONE}"],
            {"cwagent_confirm": ""},
            f"Users: {GONE}. Hybrid servers: {GONE} (if it is registered).",
        ),
        (
            ["a", NODE],
            HYBRID_A,
            f"Users: {USER_A} (if it exists). Hybrid servers: a, {NODE}. Instances: none. To confirm",
        ),
        (["adm"], {}, "cwagent_remove_servers: host adm is in the group cwagent_ec2_admin. Put another host "),
        *(
            ([name], {}, f"cwagent_remove_servers: '{name}' belongs to host {host}. Name the host instead.")
            for name, host in {
                "shared": "c",
                USER_A: "a",
                USER_A.upper(): "a",
                ADMIN_USER: "o",
                WEB["instance_id"]: "web",
            }.items()
        ),
        ([GONE_ID], {}, UNKNOWN_REGION.format(GONE_ID, US, GONE_ID)),
        ([GONE], {"cwagent_key_store": "parameter_store"}, UNKNOWN_REGION.format(GONE, US, GONE)),
        *(
            ([f"nowhere:{name}"], {}, "cwagent_remove_servers: 'nowhere' is not the name of an AWS region, such as ")
            for name in (NODE, GONE)
        ),
        (["no such"], {}, "cwagent_remove_servers: 'no such' is not a valid user name"),
    ],
)
def test_servers_that_cannot_be_removed(names, variables, problem):
    [found] = removal_of(*names, **variables)[1]
    assert problem in found


def test_servers_are_removed_when_the_inventory_has_none_any_more():
    removal = inputs_of({}, {}, confirmed(GONE, GONE_ID), requires=["removal"])["removal"]
    expected = {"users": {US: [GONE]}, "instances": {US: [GONE_ID]}, "nodes": {US: [GONE]}, "remaining_instances": {}}
    assert removal == {**NOTHING, **expected}


@pytest.mark.parametrize(("limit", "hosts"), [(None, ["a"]), (["localhost"], []), (["localhost", "a"], ["a"])])
def test_a_limit_leaves_out_hosts_with_a_key(limit, hosts):
    controller = confirmed("a", cwagent_deliver_keys=True, **ONE_FILE)
    groups = {**ALL_GROUPS, "onprem_servers": ["a"]}
    inputs = inputs_of(groups, INSTANCES, controller, requires=["removal"], limit=limit)
    assert inputs["removal"]["key_hosts"] == hosts
