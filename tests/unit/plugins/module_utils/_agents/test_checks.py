from __future__ import annotations

from dataclasses import replace

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMINISTRATOR,
    CONFIGURATIONS,
    CORE,
    HEALTHY,
    HYBRID,
    REGION,
    SERVER,
    document,
    hybrid_role,
    hybrid_trust,
    instance,
    key,
    managed_policy,
    node,
    parameter,
    profile,
    role,
    with_,
)

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import GET, LOGS, METRICS, assess
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Machine, Policy, Unread
from ansible_collections.cwagent.iam.plugins.module_utils._agents.checks import check
from ansible_collections.cwagent.iam.plugins.module_utils._agents.script import digest
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import PERMISSIONS, Config, Sender, Target
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify_input import Case, configs_of, principal_of

WEB = Target("web1", REGION, "i-1")
DB = Target("db1", REGION, user="db1")
ROLE_ARN = f"arn:aws:iam::{ACCOUNT_ID}:role/Server"
PARAMETER_ARN = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/AmazonCloudWatch-linux"
BLOCKING = Policy("Boundary", document("ssm:*", METRICS), f"arn:aws:iam::{ACCOUNT_ID}:policy/Boundary")


HYBRID_SERVER = Target("db9", REGION, is_hybrid=True)


def case(account=HEALTHY, **more):
    return Case(account, assess(account), **more)


def address(endpoint):
    return f"https://{endpoint.service}.{endpoint.region}"


def changed(kind, name, **more):
    """The healthy account with a principal that differs."""
    principals = tuple(
        replace(each, **more) if (each.kind, each.name) == (kind, name) else each for each in HEALTHY.principals
    )
    return replace(HEALTHY, principals=principals)


def found(account, target, **more):
    server = check(case(account, **more), target)
    assert all(each.fix for each in server.failures)
    return [(each.rule, each.why) for each in server.failures], [each.rule for each in server.notes]


def unread(what, region=None, **more):
    return replace(HEALTHY, unread=(Unread(what, "x:Y", region, "denied"),), **more)


def test_a_healthy_instance():
    server = check(case(address_of=address), WEB)
    assert (server.failures, server.notes) == ((), ())
    assert (server.profile, server.is_running, server.runs_all) == ("Server", True, True)
    assert server.configs == (Config("AmazonCloudWatch-linux", 1, digest('{"agent":{}}'), is_readable=True),)
    assert (server.endpoints, server.possible_endpoints) == ({"ssm": f"https://ssm.{REGION}"}, {})


MACHINE = Machine(1_764_750_000, "ip-10-0-0-1.ec2.internal", "10.0.0.1", "ami-1", "t3.micro", "web")
PLAIN = Machine(1_764_750_000, "", "", "", "", "")
OF_MACHINE = {
    "hostname_of_ec2": "ip-10-0-0-1.ec2.internal",
    "ip_address": "10.0.0.1",
    "image_id": "ami-1",
    "instance_type": "t3.micro",
    "auto_scaling_group": "web",
}


@pytest.mark.parametrize(
    ("target", "machine", "more", "expected"),
    [
        (WEB, MACHINE, {}, ({"instance_id": "i-1", **OF_MACHINE}, 1_764_750_000)),
        (WEB, PLAIN, {}, ({"instance_id": "i-1", "auto_scaling_group": ""}, 1_764_750_000)),
        (WEB, None, {}, ({"instance_id": "i-1"}, 0)),
        (WEB, MACHINE, {"instances": ()}, ({"instance_id": "i-1"}, 0)),
        (
            WEB,
            None,
            {"unread": (Unread("the instance profiles of instances", "x:Y", REGION, "denied"),)},
            ({"instance_id": "i-1"}, 0),
        ),
        (DB, None, {}, ({}, 0)),
    ],
)
def test_the_agent_names_its_data_with_what_ec2_knows(target, machine, more, expected):
    instances = tuple(replace(each, machine=machine) for each in HEALTHY.instances)
    server = check(case(replace(HEALTHY, **{"instances": instances, **more})), target)
    assert (server.sender, server.launched) == (Sender("Linux", REGION, ACCOUNT_ID, **expected[0]), expected[1])


@pytest.mark.parametrize("is_windows", [False, True])
def test_a_healthy_hybrid_server(is_windows):
    endpoints = {name: f"https://{name}.{REGION}" for name in ("ec2messages", "ssm", "ssmmessages")}
    account, target = registered(node(1, is_windows=is_windows))
    server = check(case(account, address_of=address), target)
    assert (server.failures, server.notes) == ((), ())
    assert (server.node_id, server.managed_id, server.role) == ("mi-1", "mi-1", HYBRID)
    assert (server.is_hybrid, server.mode, server.endpoints) == (True, "onPremise", endpoints)
    assert ([each.is_readable for each in server.configs], server.is_windows) == ([True], is_windows)


LOGS_CONFIG = '{"logs":{"logs_collected":{}}}'
METRICS_CONFIG = '{"metrics":{"metrics_collected":{}}}'
TRACES_CONFIG = '{"logs":{"logs_collected":{}},"traces":{"traces_collected":{}}}'


@pytest.mark.parametrize(
    ("values", "configs", "certain", "possible"),
    [
        ({"linux": LOGS_CONFIG}, [], "logs", ""),
        ({"linux": LOGS_CONFIG, "linux-2": METRICS_CONFIG}, [], "logs monitoring", ""),
        ({"linux": LOGS_CONFIG, "web": TRACES_CONFIG}, [], "logs", "xray"),
        ({"linux": LOGS_CONFIG, "linux-2": METRICS_CONFIG, "web": TRACES_CONFIG}, [], "logs", "monitoring xray"),
        ({"linux": METRICS_CONFIG, "web": TRACES_CONFIG}, ["web"], "logs xray", ""),
        ({"linux": METRICS_CONFIG, "web": TRACES_CONFIG}, ["linux", "web"], "logs monitoring xray", ""),
        ({"linux": TRACES_CONFIG, "otel.yaml": "receivers:"}, [], "logs xray", ""),
        ({"linux": TRACES_CONFIG, "otel.yaml": "receivers:"}, ["linux", "otel.yaml"], "logs xray", ""),
        ({"otel.yaml": "receivers:"}, [], "logs monitoring", ""),
        ({"linux": None}, [], "logs monitoring", ""),
        ({"linux": TRACES_CONFIG, "linux-2": None}, [], "logs monitoring", ""),
        ({"linux": "{"}, [], "logs monitoring", ""),
        ({}, [], "logs monitoring", ""),
        ({}, ["linux"], "logs monitoring", ""),
    ],
)
def test_the_endpoints_of_a_server_are_those_of_its_configurations(values, configs, certain, possible):
    account = replace(HEALTHY, parameters=tuple(parameter(name, value) for name, value in values.items()))
    target = replace(WEB, configs=tuple(f"AmazonCloudWatch-{each}" for each in configs))
    server = check(case(account, address_of=address), target)
    assert [*server.endpoints] == sorted(["ssm", *certain.split()])
    assert [*server.possible_endpoints] == possible.split()
    without_addresses = check(case(account), target)
    assert (without_addresses.endpoints, without_addresses.possible_endpoints) == ({}, {})


ITS_ROLE, OFFLINE = hybrid_role(), node(1, ping="ConnectionLost")
NO_CORE, OTHER_TRUST = hybrid_role(SERVER), hybrid_role(trust=hybrid_trust(StringEquals={"aws:SourceAccount": "9"}))


def registered(*nodes, role_of_nodes=ITS_ROLE):
    """The healthy account with nodes, and a hybrid server in its inventory."""
    return with_(principals=[role_of_nodes] if role_of_nodes else [], nodes=[*nodes]), HYBRID_SERVER


NOT_REGISTERED = f"It is not registered with Systems Manager: no node in {REGION} has"
VIOLATIONS = {
    "identity": {
        f"Instance i-1 does not exist in {REGION}.": (replace(HEALTHY, instances=()), WEB),
        "It has no instance profile.": (replace(HEALTHY, instances=(instance(1, None),)), WEB),
        "Instance profile 'Server' has no role.": (replace(HEALTHY, profiles=(profile("Server", None),)), WEB),
        "User 'db1' does not exist.": (replace(HEALTHY, principals=HEALTHY.principals[:-1]), DB),
        "No access key of user 'db1' is saved.": (changed("user", "db1", keys=()), DB),
        "Access key AKIA2 of user 'db1' is inactive.": (changed("user", "db1", keys=(key(2, active=False),)), DB),
        NOT_REGISTERED: registered(),
        "It is not registered with Systems Manager: ": registered(node(1, "db8")),
        f"This collection did not register mi-1, which has its name in {REGION}.": registered(node(1, is_ours=False)),
        f"Systems Manager has 2 nodes with its name in {REGION}: mi-1 (Online), mi-2 (Online).": registered(
            node(1), node(2)
        ),
        f"Systems Manager has 2 nodes with its name in {REGION}: mi-1 (Conn": registered(OFFLINE, node(2)),
        "The SSM agent of node mi-1 is not online: its status is ConnectionLost.": registered(OFFLINE),
        f"Node mi-1 has role 'Server', not the hybrid role '{HYBRID}'.": registered(node(1, role="Server")),
        f"Role '{HYBRID}' of node mi-1 does not exist.": registered(node(1), role_of_nodes=None),
        f"Role '{HYBRID}' does not let ssm.amazonaws.com assume it in {REGION}.": registered(
            OFFLINE, role_of_nodes=OTHER_TRUST
        ),
    },
    "permissions": {
        f"Role 'Shop' lacks {METRICS}, {LOGS}, {GET}.": (
            replace(with_(principals=[role("Shop")]), instances=(instance(1, "Shop"),)),
            WEB,
        ),
        f"Permissions boundary Boundary of role 'Server' blocks {LOGS}.": (
            changed("role", "Server", boundary=BLOCKING),
            WEB,
        ),
        f"User 'db1' lacks {METRICS}, {LOGS}, {GET}.": (changed("user", "db1", policies=()), DB),
        f"Role '{HYBRID}' lacks ssm:UpdateInstanceInformation.": registered(OFFLINE, role_of_nodes=NO_CORE),
        f"Role '{HYBRID}' lacks {METRICS}": registered(node(1), role_of_nodes=hybrid_role(CORE)),
    },
    "configuration": {
        f"No configuration is stored in {REGION}.": (replace(HEALTHY, parameters=()), WEB),
        f"Parameter AmazonCloudWatch-db does not exist in {REGION}.": (
            HEALTHY,
            replace(WEB, configs=("AmazonCloudWatch-linux", "AmazonCloudWatch-db")),
        ),
        "The agent's file of AmazonCloudWatch-linux_7 has the name of the file of a version or label of AmazonCloud": (
            replace(HEALTHY, parameters=(parameter("linux"), parameter("linux_7"))),
            WEB,
        ),
        "Parameter AmazonCloudWatch-linux has type StringList, and the agent reads a String.": (
            replace(HEALTHY, parameters=(parameter("linux", None, type="StringList"),)),
            WEB,
        ),
    },
}


@pytest.mark.parametrize(
    ("violated", "what", "account", "target"),
    [(violated, what, *case) for violated, of_check in VIOLATIONS.items() for what, case in of_check.items()],
)
def test_a_server_with_one_violation_has_one_failure(violated, what, account, target):
    [(failed, said)], notes = found(account, target)
    assert (failed, said[: len(what)]) == (violated, what)
    assert notes == [] or violated != "permissions"


SHOW_ID = "On the server, sudo ssm-cli get-instance-information shows the ID that it uses."


def test_permissions_that_nobody_has_are_not_ok():
    """A role or user that does not exist, or is not known."""
    violated = [(case(account), target) for cases in VIOLATIONS.values() for account, target in cases.values()]
    without = [(seen, target) for seen, target in violated if principal_of(seen, target) is None]
    assert len(without) > 7
    for seen, target in without:
        server = check(seen, target)
        assert server.status(PERMISSIONS.name) == "?"
        assert any(each.why.startswith("Its permissions were not checked: it") for each in server.notes)


def test_of_several_nodes_the_online_node_is_checked_and_no_command_names_the_other():
    """The server can be the offline node."""
    account, target = registered(OFFLINE, node(2))
    server = check(case(account), target)
    assert server.node_id == "mi-2"
    [failure] = server.failures
    deregister = f"aws ssm deregister-managed-instance --region {REGION} --instance-id and the ID."
    assert failure.fix == f"{SHOW_ID} Deregister the others: {deregister}"


OTHER_REGION = hybrid_trust(
    StringEquals={"aws:SourceAccount": ACCOUNT_ID},
    ArnEquals={"aws:SourceArn": [f"arn:aws:ssm:us-east-1:{ACCOUNT_ID}:*"]},
)
ATTACH_CORE = (
    f"aws iam attach-role-policy --role-name {HYBRID} --policy-arn arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
)


@pytest.mark.parametrize("elements", [{"Action": "sts:*"}, {"Principal": "*"}])
def test_a_wide_trust_policy_lets_systems_manager_assume_the_role(elements):
    [statement] = hybrid_trust()["Statement"]
    trusting = hybrid_role(trust={"Statement": [{**statement, **elements}]})
    assert found(*registered(node(1), role_of_nodes=trusting)) == ([], [])


@pytest.mark.parametrize("path", ["", "monitoring/", "a/b/"])
def test_the_fix_for_a_node_with_another_role_has_the_path_of_the_right_one(path):
    right = replace(hybrid_role(), arn=f"arn:aws:iam::{ACCOUNT_ID}:role/{path}{HYBRID}")
    account, target = registered(node(1, role="Server"), role_of_nodes=right)
    [failure] = check(case(account), target).failures
    assert failure.fix == (
        f"aws ssm update-managed-instance-role --region {REGION} --instance-id mi-1 --iam-role {path}{HYBRID}"
    )


@pytest.mark.parametrize(
    ("role_of_node", "fix"),
    [
        (hybrid_role(trust=OTHER_REGION), "Run the playbook cwagent.iam.site."),
        (hybrid_role(trust=OTHER_REGION, tags={}), "Allow sts:AssumeRole to the service ssm.amazonaws.com with "),
        (OTHER_TRUST, "Allow sts:AssumeRole to the service ssm.amazonaws.com with "),
        (NO_CORE, "Run the playbook cwagent.iam.site. "),
        (replace(NO_CORE, tags={}), ATTACH_CORE),
    ],
)
def test_the_role_of_a_hybrid_server_is_fixed_by_those_who_manage_it(role_of_node, fix):
    account, target = registered(node(1), role_of_nodes=role_of_node)
    [failure] = check(case(account), target).failures
    assert failure.fix.startswith(fix)


def test_a_saved_key_that_the_user_does_not_have():
    account = changed("user", "db1", keys=(key(2),))
    what = "Access key AKIA9 is saved, and user 'db1' does not have it."
    assert found(account, DB, saved_keys={"db1": "AKIA9"}) == ([("identity", what)], [])


def test_a_blocking_boundary_and_a_missing_permission_are_two_failures():
    metrics = managed_policy("Metrics", document(METRICS), document(GET, resource=CONFIGURATIONS))
    account = changed("role", "Server", policies=(metrics,), boundary=replace(BLOCKING, document=document(GET, LOGS)))
    assert [what for _check, what in found(account, WEB)[0]] == [
        f"Permissions boundary Boundary of role 'Server' blocks {METRICS}.",
        f"Role 'Server' lacks {LOGS}.",
    ]


@pytest.mark.parametrize(
    ("kind", "tags", "fix"),
    [
        ("role", {}, "Add Server to cwagent_attach_to_roles, and run the playbook cwagent.iam.site with"),
        ("user", {}, "attach-user-policy --user-name db1 "),
        ("role", {"cwagent:managed": "created"}, "Run the playbook cwagent.iam.site. If the policy is attached"),
    ],
)
def test_the_fix_of_missing_permissions(kind, tags, fix):
    name, target = ("Server", WEB) if kind == "role" else ("db1", DB)
    [failure] = check(case(changed(kind, name, policies=(), tags=tags)), target).failures
    assert fix in failure.fix


WRITING = document("ssm:PutParameter", resource=CONFIGURATIONS)
UNDECIDED = document("ssm:PutParameter", resource=CONFIGURATIONS, Condition={"Bool": {"x:y": "true"}})


@pytest.mark.parametrize(
    ("policies", "failures", "notes"),
    [
        *((policies, ["writing"], []) for policies in ((SERVER, Policy("Writing", WRITING)), (ADMINISTRATOR,))),
        ((SERVER, Policy("Perhaps", UNDECIDED)), [], ["permissions"]),
    ],
)
def test_a_server_must_not_write(policies, failures, notes):
    made = found(changed("role", "Server", policies=policies), WEB)
    assert ([name for name, _what in made[0]], made[1]) == (failures, notes)


def test_the_admin_instance_passes_while_its_window_is_closed():
    account = replace(HEALTHY, instances=(instance(1, "Admin"),))
    assert found(account, WEB) == ([], [])
    opened = [replace(each, writes="window") if each.principal.name == "Admin" else each for each in assess(account)]
    [failure] = check(Case(account, opened), WEB).failures
    assert "cwagent.iam.restore" in failure.fix


def test_the_answer_of_iam_itself_counts():
    simulated = {(ROLE_ARN, METRICS, "*"): True, (ROLE_ARN, LOGS, "*"): False, (ROLE_ARN, GET, PARAMETER_ARN): False}
    made = found(HEALTHY, WEB, simulated=simulated)
    assert made[0] == [("permissions", f"Role 'Server' lacks {LOGS}, {GET}.")]
    server = check(case(simulated=simulated), WEB)
    assert server.configs[0].is_readable is False


def test_the_configurations_of_a_server():
    stored = [parameter(name) for name in ("linux", "linux-10", "linux-2", "linux-3", "web", "web-2")]
    account = case(replace(HEALTHY, parameters=tuple(stored)))

    def names(*configs):
        parameters, missing = configs_of(account, Target("x", REGION, "i-1", configs=configs))
        return [each.name.removeprefix("AmazonCloudWatch-") for each in parameters], missing

    assert names() == (["linux", "linux-10", "linux-2", "linux-3", "web", "web-2"], [])
    assert names("AmazonCloudWatch-web", "AmazonCloudWatch-linux") == (
        ["web", "web-2", "linux", "linux-2", "linux-3"],
        [],
    )
    assert not check(account, WEB).runs_all
    assert check(account, replace(WEB, configs=("AmazonCloudWatch-web",))).runs_all


OF_ALL = "the roles and users of the account"
NOT_SAVED = changed("user", "db1", keys=(key(2, saved=None),))
UNREAD = {
    "profiles": (unread("the instance profiles of instances", REGION), WEB, ["identity"]),
    "principals": (unread(OF_ALL, principals=()), WEB, ["permissions"]),
    "users": (unread(OF_ALL, principals=()), DB, ["permissions"]),
    "keys": (changed("user", "db1", keys=None), DB, ["identity"]),
    "where keys are saved": (
        replace(NOT_SAVED, unread=(Unread("where access keys are saved", "x:Y", REGION, "denied"),)),
        DB,
        ["identity"],
    ),
    "parameters": (unread("the configuration parameters", REGION, parameters=()), WEB, ["configuration"]),
    "policies": (changed("role", "Server", policies=(Policy("(not read)", None),)), WEB, ["permissions"] * 2),
    "nodes": (
        replace(unread("the nodes of Systems Manager", REGION), principals=(hybrid_role(),)),
        HYBRID_SERVER,
        ["identity", "permissions"],
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_an_unread_value_is_no_failure(name):
    account, target, notes = UNREAD[name]
    assert found(account, target) == ([], notes)


@pytest.mark.parametrize(("state", "is_running"), [("running", True), (None, True), ("stopped", False)])
def test_an_instance_that_is_not_running(state, is_running):
    server = check(case(replace(HEALTHY, instances=(instance(1, "Server", state=state),))), WEB)
    assert (server.is_running, server.failures) == (is_running, ())


@pytest.mark.parametrize("is_windows", [False, True])
def test_a_windows_server_is_known_even_if_the_profiles_cannot_be_read(is_windows):
    [use] = HEALTHY.instances
    account = unread("the instance profiles of instances", REGION, instances=(replace(use, is_windows=is_windows),))
    assert check(case(account), WEB).is_windows == is_windows


@pytest.mark.parametrize("profile_name", ["Server", None])
def test_a_windows_server_is_checked_through_ec2_and_iam_as_any_other(profile_name):
    uses = [replace(instance(1, profile_name), is_windows=each) for each in (False, True)]
    linux, windows = (check(case(replace(HEALTHY, instances=(use,))), WEB) for use in uses)
    assert windows == replace(linux, is_windows=True)
    assert bool(windows.failures) is (profile_name is None)


@pytest.mark.parametrize(("ends", "notes"), [(("",), ["permissions"]), (("", ":*"), []), (("", ":1"), [])])
def test_a_policy_for_a_name_may_not_cover_its_versions(ends, notes):
    reads = managed_policy("Exact", document(METRICS, LOGS), document(GET, resource=[PARAMETER_ARN + e for e in ends]))
    account = changed("role", "Server", policies=(reads,))
    assert found(account, WEB) == ([], notes)


def test_a_parameter_in_yaml_is_never_read_by_its_version():
    arn = PARAMETER_ARN.replace("linux", "linux.yaml")
    account = changed(
        "role", "Server", policies=(managed_policy("Exact", document(METRICS, LOGS), document(GET, resource=arn)),)
    )
    assert found(replace(account, parameters=(parameter("linux.yaml"),)), WEB) == ([], [])


@pytest.mark.parametrize(("label", "clashes"), [("", False), ("stable", True), ("other", False)])
def test_a_label_must_not_give_two_files_one_name(label, clashes):
    account = replace(HEALTHY, parameters=(parameter("linux"), parameter("linux_stable")))
    assert ("configuration" in {rule for rule, _why in found(account, WEB, label=label)[0]}) is clashes


@pytest.mark.parametrize("configs", [(), ("AmazonCloudWatch-linux",)])
def test_stored_parameters_whose_files_look_like_a_label_are_known(configs):
    stored = (parameter("linux"), parameter("linux_old"), parameter("linux_7"), parameter("web_old"))
    seen = check(case(replace(HEALTHY, parameters=stored), label="stable"), replace(WEB, configs=configs))
    assert seen.similar == (("AmazonCloudWatch-linux_7", "AmazonCloudWatch-linux_old") if configs else ())
