"""Checks of the permissions that the configurations of a server need."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMIN,
    AGENT,
    CLOSED,
    CONFIGURATIONS,
    HEALTHY,
    REGION,
    document,
    instance,
    managed_policy,
    parameter,
    role,
    trust,
    user,
    with_,
)

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import GET, LOGS, METRICS, assess
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Policy
from ansible_collections.cwagent.iam.plugins.module_utils._agents.checks import check
from ansible_collections.cwagent.iam.plugins.module_utils._agents.permission_checks import calls_of
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Target
from ansible_collections.cwagent.iam.plugins.module_utils._agents.verify_input import Case
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Call, Scope, Source, fit

WEB, DB = Target("web1", REGION, "i-1"), Target("db1", REGION, user="db1")
OWN = f"arn:aws:iam::{ACCOUNT_ID}:"
CENTRAL = f"{OWN}role/Central"
FOREIGN = "arn:aws:iam::999999999999:role/Central"
WORKSPACE = f"arn:aws:aps:{REGION}:{ACCOUNT_ID}:workspace/ws-1"
TRACES = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
SAMPLING = ["xray:GetSamplingRules", "xray:GetSamplingStatisticSummaries", "xray:GetSamplingTargets"]
READS = ["ec2:DescribeTags", "ec2:DescribeVolumes", "logs:DescribeLogGroups"]
LOG_GROUPS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutRetentionPolicy"]
ORDINARY = [*AGENT, *READS, *LOG_GROUPS, *TRACES, *SAMPLING]
TASKS = [
    "ec2:DescribeInstances",
    "ecs:DescribeContainerInstances",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:ListTasks",
]
SERVICES = ["ecs:DescribeServices", "ecs:ListServices"]
READING = document(GET, resource=CONFIGURATIONS)
SERVER = managed_policy("CloudWatchAgentServerPolicy", document(*ORDINARY), READING)

AMP = {"metrics": {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}}}}
ECS = {"logs": {"metrics_collected": {"prometheus": {"ecs_service_discovery": {"service_name_list_for_tasks": []}}}}}
GROUP = {"metrics": {"append_dimensions": {"AutoScalingGroupName": "${aws:AutoScalingGroupName}"}}}
VOLUME_IDS = {"disk": {"append_dimensions": {"VolumeId": "${aws:VolumeId}"}}}
VOLUMES = {"metrics": {"append_dimensions": {}, "metrics_collected": VOLUME_IDS}}
RETENTION = {"logs": {"logs_collected": {"journald": {"collect_list": [{"retention_in_days": 30}]}}}}
XRAY = {"traces": {"traces_collected": {"xray": {}}}}
OTLP = {"opentelemetry": {"collect": {"otlp": {}}}}
LIST = "logs.logs_collected.*.collect_list.*.retention_in_days"
AMP_FIELD = "metrics.metrics_destinations.amp.workspace_id"
LOG_EVENTS = ["logs:CreateLogGroup", "logs:CreateLogStream", LOGS]
GROUP_ARN = f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:app"
NAMED = {"logs": {"logs_collected": {"files": {"collect_list": [{"log_group_name": "app"}]}}}}
SHOP = {"metrics": {"namespace": "Shop"}}
VOLUME_FIELD = "metrics.metrics_collected.disk.append_dimensions.VolumeId"


def assuming(arn, *sections):
    return {section: {"credentials": {"role_arn": arn}} for section in sections or ("agent",)}


def account_of(*configs, server=(SERVER,), others=(), **more):
    """The healthy account with these configurations, and with these policies of the servers."""
    names = ("linux", "web", "db")
    parameters = tuple(
        parameter(name, each if each is None else json.dumps(each)) for name, each in zip(names, configs, strict=False)
    )
    servers = (role("Server", *server, **more), user("db1", *server, keys=HEALTHY.principals[-1].keys, **more))
    kept = [each for each in HEALTHY.principals if each.name not in ("Server", "db1")]
    return replace(HEALTHY, principals=(*kept, *servers, *others), parameters=parameters)


def case(account, **more):
    return Case(account, assess(account), **more)


def found(account, target=WEB, **more):
    server = check(case(account, **more), target)
    assert all(each.fix for each in server.failures)
    assert {each.rule for each in server.failures} | {each.rule for each in server.notes} <= {"permissions"}
    return [each.why for each in server.failures], [each.why for each in server.notes]


def fixes_of(account, target=WEB, **more):
    return [each.fix for each in check(case(account, **more), target).failures]


WITHOUT_VOLUMES = " If denied, this dimension is missing."
SAME_RETENTION = " If denied, the retention stays as it is."


def lacks(actions, field, name="linux", who="Role 'Server'", end=""):
    return f"{who} lacks {actions}, which {field} of AmazonCloudWatch-{name} needs.{end}"


def without(*actions):
    left = [each for each in ORDINARY if each not in actions]
    return (managed_policy("Custom", document(*left), READING),)


BEYOND = {
    "a role": (assuming(FOREIGN), "sts:AssumeRole", "agent.credentials.role_arn", FOREIGN),
    "Prometheus": (AMP, "aps:RemoteWrite", AMP_FIELD, WORKSPACE),
}


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("target", [WEB, DB])
def test_what_the_policy_of_the_servers_lacks_is_a_failure(name, target):
    config, action, field, resource = BEYOND[name]
    who = "Role 'Server'" if target is WEB else "User 'db1'"
    for allowed, lacked in ((None, True), (resource, False), (f"{resource}2", True)):
        more = [Policy("More", document(action, resource=allowed))] if allowed else []
        expected = [lacks(action, field, who=who)] * lacked
        assert found(account_of(config, server=(SERVER, *more)), target)[0] == expected


NO_START = " If denied, agents from version 1.300061 on do not start"
PROMETHEUS = {"logs": {"metrics_collected": {"prometheus": {}}}}
TEAM = {"metrics": {"metrics_collected": {"cpu": {"append_dimensions": {"team": "${aws:AutoScalingGroupName}"}}}}}
SIGNALS = {"traces": {"traces_collected": {"application_signals": {}}}}
SIGNALS_FIELD = "traces.traces_collected.application_signals"
CUSTOM = {
    "volumes": (VOLUMES, "ec2:DescribeVolumes", VOLUME_FIELD, WITHOUT_VOLUMES),
    "OpenTelemetry log events": (OTLP, "logs:CreateLogStream", "opentelemetry.collect.otlp", ""),
    "a group of all metrics": (
        GROUP,
        "ec2:DescribeTags",
        "metrics.append_dimensions.AutoScalingGroupName",
        " If denied, the agent sends no metrics of its plug-ins.",
    ),
    "a group of a plug-in": (
        TEAM,
        "ec2:DescribeTags",
        "metrics.metrics_collected.cpu.append_dimensions.*",
        f"{NO_START}.",
    ),
    "a cluster for Prometheus": (
        PROMETHEUS,
        "ec2:DescribeTags",
        "logs.metrics_collected.prometheus",
        f"{NO_START}, and earlier ones start a minute later.",
    ),
    "a cluster for OpenTelemetry": (
        OTLP,
        "ec2:DescribeTags",
        "opentelemetry",
        " If denied, the agent does not start.",
    ),
    # One cause is one failure, with the worst that it does.
    "tags for everything": (
        {"metrics": {**GROUP["metrics"], **TEAM["metrics"]}, **SIGNALS, **OTLP, **PROMETHEUS},
        "ec2:DescribeTags",
        "logs.metrics_collected.prometheus",
        f"{NO_START}, and earlier ones start a minute later.",
    ),
}
DYNAMIC = Policy("Dynamic", document("application-signals:*"))


@pytest.mark.parametrize(("config", "action", "field", "end"), CUSTOM.values(), ids=CUSTOM)
def test_a_policy_or_a_boundary_that_lacks_an_ordinary_permission_is_a_failure(config, action, field, end):
    assert found(account_of(config, server=(SERVER, DYNAMIC))) == ([], [])
    lacking = account_of(config, server=(*without(action), DYNAMIC))
    assert found(lacking) == ([lacks(action, field, end=end)], [])
    allowed = [each for each in ORDINARY if each != action]
    limit = Policy("Limit", document(*allowed, GET, "application-signals:*"), f"{OWN}policy/Limit")
    bound = account_of(config, server=(SERVER, DYNAMIC), boundary=limit)
    part = f"{field} of AmazonCloudWatch-linux"
    blocked = f"Permissions boundary Limit of role 'Server' blocks {action}, which {part} needs.{end}"
    assert found(bound) == ([blocked], [])
    assert fixes_of(bound) == [f"Allow {action} in policy {OWN}policy/Limit."]


INSTRUMENTATION = [
    "application-signals:ListInstrumentationConfigurations",
    "application-signals:ReportInstrumentationConfigurationStatus",
]


def test_a_permission_without_which_most_servers_do_well_is_a_note():
    described = " If denied, the data does not name the Auto Scaling group and the cluster."
    instrumented = " If denied, applications cannot change their instrumentation while they run."
    tags = lacks("ec2:DescribeTags", SIGNALS_FIELD, end=described)
    dynamic = lacks(", ".join(INSTRUMENTATION), SIGNALS_FIELD, end=instrumented)
    for config in (SIGNALS, {"opentelemetry": {**OTLP["opentelemetry"], "cluster_name": "shop"}}):
        is_traces = config is SIGNALS
        expected = tags if is_traces else tags.replace(SIGNALS_FIELD, "opentelemetry.collect.*")
        account = account_of(config, server=without("ec2:DescribeTags"))
        assert found(account) == ([], [expected, *([dynamic] if is_traces else [])])
        assert found(account, DB) == ([], [dynamic.replace("Role 'Server'", "User 'db1'")] if is_traces else [])
    assert found(account_of(SIGNALS)) == ([], [dynamic])
    assert found(account_of(SIGNALS, server=(SERVER, DYNAMIC))) == ([], [])


def test_a_server_that_may_use_one_of_several_parts_takes_the_role_from_another():
    """Without the names of its configurations, only their own names tell that they are parts of one."""
    parts = [parameter(name, json.dumps(each)) for name, each in (("x", assuming(FOREIGN)), ("x-2", RETENTION))]
    allowed = Policy("More", document("sts:AssumeRole", resource=FOREIGN))
    account = replace(account_of(server=(*without("logs:PutRetentionPolicy"), allowed)), parameters=tuple(parts))
    assert not [each for each in found(account)[1] if "PutRetentionPolicy" in each]
    other = replace(account, parameters=(parts[0], parameter("y", json.dumps(RETENTION))))
    assert [each for each in found(other)[1] if "PutRetentionPolicy" in each]


@pytest.mark.parametrize("config", [RETENTION, OTLP])
def test_log_groups_can_be_created_by_anybody(config):
    assert found(account_of(config, server=without("logs:CreateLogGroup"))) == ([], [])


def test_tags_and_volumes_are_read_on_ec2_only():
    for config in (GROUP, VOLUMES):
        assert found(account_of(config, server=without("ec2:DescribeTags", "ec2:DescribeVolumes")), DB) == ([], [])


def test_the_admin_policy_does_not_allow_reading_volumes():
    admin = managed_policy("CloudWatchAgentAdminPolicy", document(*AGENT, "ec2:DescribeTags"), READING)
    assert admin.arn == ADMIN.arn
    account = with_(account_of(VOLUMES), principals=[role("Other", admin, CLOSED)])
    account = replace(account, instances=(instance(1, "Other"),))
    assert found(account) == ([lacks("ec2:DescribeVolumes", VOLUME_FIELD, who="Role 'Other'", end=WITHOUT_VOLUMES)], [])
    fix = "CloudWatchAgentAdminPolicy does not allow it. Associate instance profile 'Own'."
    assert fixes_of(account, server_profile="Own") == [fix]


LACKS_ALL = f"Role 'Server' lacks {METRICS}, {LOGS}, {GET}."


@pytest.mark.parametrize(
    ("config", "policies", "failures"),
    [
        ({**XRAY, **RETENTION, **GROUP}, (), [LACKS_ALL]),
        (
            assuming(FOREIGN, "agent", "metrics", "logs", "traces"),
            (SERVER,),
            [lacks("sts:AssumeRole", "agent.credentials.role_arn")],
        ),
        ({**AMP, **XRAY}, (), [LACKS_ALL, lacks("aps:RemoteWrite", AMP_FIELD)]),
    ],
)
def test_one_cause_is_one_failure(config, policies, failures):
    assert found(account_of(config, server=policies))[0] == failures


@pytest.mark.parametrize("target", [WEB, DB])
def test_the_fix_of_what_no_policy_of_aws_has(target):
    create = f"Create a policy that allows aps:RemoteWrite on {WORKSPACE}, add its ARN to cwagent_managed_policies"
    assert fixes_of(account_of(AMP), target) == [f"{create}, and run the playbook cwagent.iam.site."]


def test_the_fixes_of_an_ordinary_permission_and_of_an_unknown_resource():
    allow = f"Allow aps:RemoteWrite on {WORKSPACE} in a policy of role 'Server'."
    assert fixes_of(account_of(AMP, tags={})) == [allow]
    [fix] = fixes_of(account_of(RETENTION, server=without("logs:PutRetentionPolicy")))
    assert fix.startswith("Run the playbook cwagent.iam.site.")
    assert fixes_of(account_of(ECS, tags={}))[0] == f"Allow {', '.join(TASKS)} in a policy of role 'Server'."


@pytest.mark.parametrize("region", ["us-east-1", "${AWS_REGION}", 1])
def test_the_workspace_is_in_the_region_of_the_agent(region):
    config = {**AMP, "agent": {"region": region}}
    used = region if region == "us-east-1" else REGION
    more = Policy("More", document("aps:RemoteWrite", resource=WORKSPACE.replace(REGION, used)))
    assert found(account_of(config, server=(SERVER, more))) == ([], [])


# Unknown answers


def undecided(action, field):
    return f"Whether Role 'Server' may {action}, which {field} of AmazonCloudWatch-linux needs, could not be decided."


def test_a_policy_for_some_resources_of_an_unknown_one_is_no_failure():
    some = Policy("Some", document("logs:PutRetentionPolicy", resource="arn:aws:logs:*:*:log-group:app*"))
    account = account_of(RETENTION, server=(*without("logs:PutRetentionPolicy"), some))
    assert found(account) == ([], [undecided("logs:PutRetentionPolicy", LIST)])
    no = Policy("No", document("logs:PutRetentionPolicy", resource="arn:aws:logs:*:*:log-group:x", effect="Deny"))
    assert found(account_of(RETENTION, server=(SERVER, no))) == ([], [undecided("logs:PutRetentionPolicy", LIST)])
    never = Policy("No", document("logs:PutRetentionPolicy", effect="Deny"))
    assert found(account_of(RETENTION, server=(SERVER, never)))[0] == [
        lacks("logs:PutRetentionPolicy", LIST, end=SAME_RETENTION)
    ]


@pytest.mark.parametrize(
    "more",
    [Policy("Perhaps", document("aps:RemoteWrite", Condition={"Bool": {"x:y": "true"}})), Policy("Unread", None)],
)
def test_a_condition_and_a_policy_that_was_not_read_are_no_failure(more):
    failures, notes = found(account_of(AMP, server=(SERVER, more)))
    assert failures == []
    assert undecided("aps:RemoteWrite", AMP_FIELD) in notes


def test_a_configuration_that_was_not_read_is_a_note():
    note = "The permissions that AmazonCloudWatch-linux needs are not known: it was not read."
    assert found(account_of(None)) == ([], [note])
    note = "The permissions that AmazonCloudWatch-linux needs are not known: it is encrypted."
    account = replace(account_of(), parameters=(parameter("linux", None, type="SecureString"),))
    assert found(account) == ([], [note])


DECRYPT = document("kms:Decrypt")
OF_LINUX = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/AmazonCloudWatch-linux"


def of_parameter(arn):
    return document("kms:Decrypt", Condition={"StringLike": {"kms:EncryptionContext:PARAMETER_ARN": arn}})


def test_a_configuration_that_needs_nothing_has_a_fitted_policy_without_metrics_and_logs():
    [fitted] = fit([Source("linux", {}, ("AmazonCloudWatch-linux",), (REGION,))], Scope("aws", ACCOUNT_ID)).policies
    policy = Policy("Fitted", fitted, f"{OWN}policy/cwagent/CloudWatchAgentFittedServerPolicy")
    assert found(account_of({"agent": {}}, server=(policy,))) == ([], [])
    assert found(account_of({"agent": {}}, server=(replace(policy, arn=None),)))[0] != []


@pytest.mark.parametrize(
    ("key", "allowed", "is_noted"),
    [
        ("alias/aws/ssm", None, False),
        ("alias/own", None, True),
        ("alias/own", DECRYPT, False),
        ("alias/own", of_parameter(OF_LINUX), False),
        ("alias/own", of_parameter(f"{OF_LINUX}s"), True),
        ("alias/own", document("kms:Decrypt", resource=f"arn:aws:kms:*:{ACCOUNT_ID}:key/1"), False),
        ("alias/own", document("kms:Decrypt", effect="Deny"), True),
    ],
)
def test_a_key_of_the_user_that_a_server_may_not_use_is_a_note(key, allowed, is_noted):
    policies = (SERVER, *([Policy("Keys", allowed)] if allowed else []))
    encrypted = parameter("linux", None, type="SecureString", kms_key=key)
    failures, notes = found(replace(account_of(server=policies), parameters=(encrypted,)))
    lacking = f"Role 'Server' lacks kms:Decrypt for {encrypted.name}, unless the policy of its KMS key allows it."
    assert (failures, notes[:-1]) == ([], [f"{lacking} Allow it on key alias/own."] * is_noted)


@pytest.mark.parametrize(("config", "lacking"), [(SHOP, METRICS), (AMP, "aps:RemoteWrite")])
@pytest.mark.parametrize("more", [{}, {"tags": {}}])
def test_a_principal_gets_what_its_fitted_policy_lacks_from_the_next_run(config, lacking, more):
    [document_of_other] = fit([Source("other", NAMED, ("other",), (REGION,))], Scope("aws", ACCOUNT_ID)).policies
    policy = Policy("Fitted", document_of_other, f"{OWN}policy/cwagent/CloudWatchAgentFittedServerPolicy")
    for target in (WEB, DB):
        server = check(case(account_of(config, server=(policy,), **more)), target)
        [fix] = {each.fix for each in server.failures if lacking in each.why}
        assert "cwagent.iam.site with cwagent_server_policy=fitted" in fix


def test_the_log_group_of_an_unknown_section_is_not_known():
    config = {"logs": {"logs_collected": {"x": {"collect_list": [{"retention_in_days": 1}]}}}}
    assert found(account_of(config)) == ([], [])
    assert found(account_of(config, server=without("logs:PutRetentionPolicy"))) == (
        [lacks("logs:PutRetentionPolicy", LIST, end=SAME_RETENTION)],
        [],
    )


@pytest.mark.parametrize("value", ["", "no JSON", "[]"])
def test_a_configuration_that_is_not_valid_needs_nothing(value):
    account = replace(account_of(), parameters=(parameter("linux", value),))
    assert found(account) == ([], [])


# Several configurations


def test_of_several_configurations_a_server_may_use_only_one():
    note = f"If it uses this configuration: {lacks('aps:RemoteWrite', AMP_FIELD, 'web')}"
    assert found(account_of(RETENTION, AMP)) == ([], [note])
    other = Policy("x", document("sts:AssumeRole", resource="x"))
    unknown = account_of({}, assuming("${ROLE}"), server=(SERVER, other))
    assert found(unknown)[1][0].startswith("Whether Role 'Server' may sts:AssumeRole")


BOTH = replace(WEB, configs=("AmazonCloudWatch-linux", "AmazonCloudWatch-web"))


@pytest.mark.parametrize("configs", [(SIGNALS, PROMETHEUS), (PROMETHEUS, SIGNALS)])
def test_a_call_that_one_of_several_configurations_cannot_do_without_is_a_failure(configs):
    account = account_of(*configs, server=(*without("ec2:DescribeTags"), DYNAMIC))
    name = "linux" if configs[0] is PROMETHEUS else "web"
    end = f"{NO_START}, and earlier ones start a minute later."
    lacking = lacks("ec2:DescribeTags", "logs.metrics_collected.prometheus", name, end=end)
    assert found(account, BOTH) == ([lacking], [])


@pytest.mark.parametrize("regions", [(), ("us-east-1", "us-east-2")])
def test_the_same_need_of_several_configurations_is_one_failure(regions):
    """Even of configurations that the agent cannot merge."""
    configs = [{**AMP, "agent": {"region": each}} for each in regions] or [AMP, AMP]
    assert found(account_of(*configs), BOTH)[0] == [lacks("aps:RemoteWrite", AMP_FIELD)]


def test_the_role_can_be_in_another_configuration():
    central = role("Central", trust=trust({"AWS": f"{OWN}root"}))
    assume = Policy("Assume", document("sts:AssumeRole"))
    account = account_of(AMP, assuming(CENTRAL), server=(SERVER, assume), others=[central])
    assert found(account, BOTH) == ([lacks("aps:RemoteWrite", AMP_FIELD, who="Role 'Central'")], [])


# Roles that the agent assumes

ASSUME = Policy("Assume", document("sts:AssumeRole", resource=CENTRAL))
FIELD = "agent.credentials.role_arn"


def central(principal=None, *policies, **more):
    return role("Central", *policies, **{"trust": trust(principal), "tags": {}, **more})


def assumed(trusted, *policies, server=(SERVER, ASSUME), config=None):
    others = [central(trusted, *policies)]
    return found(account_of({**assuming(CENTRAL), **(config or {})}, server=server, others=others))


@pytest.mark.parametrize(
    "trusted",
    [
        "*",
        {"AWS": "*"},
        {"AWS": ACCOUNT_ID},
        {"AWS": [f"{OWN}root", f"{OWN}role/Other"]},
        {"AWS": f"{OWN}role/Server", "Service": "ec2.amazonaws.com"},
        {"AWS": "AROA1"},
        {"AWS": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/Server/i-0123456789abcdef0"},
    ],
)
def test_a_role_that_the_server_may_assume_and_that_trusts_it(trusted):
    assert assumed(trusted) == ([], [])


@pytest.mark.parametrize(
    "trusted",
    [
        {"Service": "ec2.amazonaws.com"},
        {"AWS": f"{OWN}role/Other"},
        {"AWS": "999999999999"},
        {"AWS": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/Server2/i-0123456789abcdef0"},
    ],
)
def test_a_role_that_does_not_trust_the_server(trusted):
    what = f"Role 'Central', which {FIELD} of AmazonCloudWatch-linux names, does not trust role 'Server'."
    assert assumed(trusted) == ([what], [])
    account = account_of(assuming(CENTRAL), server=(SERVER, ASSUME), others=[central(trusted)])
    assert fixes_of(account) == [f"Allow {OWN}role/Server to assume the role in its trust policy."]


def trusting(who, effect="Allow", element="Principal"):
    return {"Effect": effect, element: who, "Action": "sts:AssumeRole"}


OTHER_ROLE = {"AWS": f"{OWN}role/Other"}


@pytest.mark.parametrize(
    ("policy", "is_trusted"),
    [
        (None, True),
        ({"Statement": trusting(OTHER_ROLE, element="NotPrincipal")}, True),
        ({"Statement": [trusting(OTHER_ROLE, "Deny"), trusting({"AWS": f"{OWN}root"})]}, True),
        ({"Statement": [trusting("*", "Deny")]}, False),
    ],
)
def test_a_trust_policy_that_may_allow_it_is_no_failure(policy, is_trusted):
    account = account_of(assuming(CENTRAL), server=(SERVER, ASSUME), others=[central(trust=policy)])
    failures, notes = found(account)
    assert (["does not trust role 'Server'" in each for each in failures], notes) == ([True] * (not is_trusted), [])


def test_a_trust_policy_can_name_the_sessions_of_a_role_with_a_path():
    session = {"AWS": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/Server/i-1"}
    account = account_of(assuming(CENTRAL), server=(SERVER, ASSUME), others=[central(session)])
    with_path = [
        replace(each, arn=f"{OWN}role/team/Server") if each.name == "Server" else each for each in account.principals
    ]
    assert found(replace(account, principals=tuple(with_path))) == ([], [])


def test_servers_with_the_same_configurations_share_what_these_need():
    shared = case(account_of(AMP, GROUP))
    first, second, on_premises = (check(shared, each) for each in (WEB, replace(WEB, host="web2"), DB))
    assert [each.why for each in first.notes] == [each.why for each in second.notes]
    assert {each.object for each in second.notes} == {"web2"}
    assert len(shared.needs) == 2
    assert len(on_premises.notes) == len(first.notes)
    named = check(shared, BOTH)
    assert [len(named.failures), len(shared.needs)] == [1, 3]


def test_a_trust_policy_that_names_the_server_can_be_sufficient():
    assert assumed({"AWS": f"{OWN}role/Server"}, server=(SERVER,)) == ([], [undecided("sts:AssumeRole", FIELD)])
    assert assumed({"AWS": f"{OWN}root"}, server=(SERVER,)) == ([lacks("sts:AssumeRole", FIELD)], [])
    account = account_of(assuming(CENTRAL), tags={}, others=[central({"AWS": ACCOUNT_ID})])
    assert fixes_of(account) == [f"Allow sts:AssumeRole on {CENTRAL} in a policy of role 'Server'."]


def test_a_role_that_does_not_exist_is_one_failure():
    what = f"{FIELD} of AmazonCloudWatch-linux names role {CENTRAL}, which does not exist."
    assert found(account_of({**assuming(CENTRAL), **AMP}, server=(SERVER, ASSUME))) == ([what], [])


def test_the_trust_policy_of_a_role_of_another_account_is_not_known():
    note = f"Whether role {FOREIGN} trusts role 'Server' could not be decided."
    more = Policy("More", document("sts:AssumeRole", resource=FOREIGN))
    assert found(account_of({**assuming(FOREIGN), **AMP}, server=(SERVER, more))) == ([], [note])


# Simulation


def test_the_calls_of_a_server_are_those_of_its_configurations():
    account = account_of({**AMP, **XRAY, **ECS, **assuming("${ROLE}")})
    server = next(each for each in account.principals if each.name == "Server")
    reading = Call(GET, (f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/AmazonCloudWatch-linux",))
    own = [Call("sts:AssumeRole", (None,)), *(Call(each, (None,)) for each in (*TASKS, *SERVICES))]
    own.append(Call("ec2:DescribeTags"))
    assert list(calls_of(case(account), WEB)) == [(server, each) for each in (reading, *own)]
    account = account_of({**AMP, **XRAY, **NAMED})
    events = [Call(each, (f"{GROUP_ARN}:log-stream:*",)) for each in LOG_EVENTS]
    calls = [reading, Call("aps:RemoteWrite", (WORKSPACE,)), *events, *map(Call, (*TRACES, *SAMPLING))]
    assert list(calls_of(case(account), WEB)) == [(server, each) for each in calls]
    assert list(calls_of(case(account), replace(WEB, instance_id="i-9"))) == []
    foreign = account_of({**assuming(FOREIGN), **AMP})
    assert [call.action for _who, call in calls_of(case(foreign), WEB)] == [GET, "sts:AssumeRole"]
    ordinary = [Call(METRICS), Call(LOGS, (None,)), reading]
    assert [call for _who, call in calls_of(case(account_of({})), WEB)] == ordinary
    assert [call.action for _who, call in calls_of(case(account_of(SHOP)), WEB)] == [GET, METRICS]


SIMULATED = (OWN + "role/Server", LOGS, f"{GROUP_ARN}:log-stream:*")


@pytest.mark.parametrize(
    ("stream", "allows", "failures", "notes"),
    [
        ("*", True, 0, 0),
        ("*", False, 1, 0),
        ("web-*", True, 0, 2),
        ("web-*", False, 0, 2),
    ],
)
def test_a_simulation_with_a_pattern_denies_only_what_a_policy_allows(stream, allows, failures, notes):
    """A service control policy can deny it. A policy for other streams decides about the pattern otherwise."""
    logs = document(*LOG_EVENTS, resource=f"{GROUP_ARN}:log-stream:{stream}")
    account = account_of(NAMED, server=(managed_policy("Custom", logs, READING),))
    made = found(account, simulated={SIMULATED: allows})
    assert [len(each) for each in made] == [failures, notes]
