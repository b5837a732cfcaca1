"""Configurations become fitted policies. Statements go into documents and come back."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge, part_names, split
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import permissions_of
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import ACCOUNT as ANY_ACCOUNT
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import (
    MAX_POLICIES,
    MAX_POLICY,
    PARTITION,
    Call,
    Scope,
    Source,
    Statement,
    calls_for,
    check_number,
    check_size,
    compile_each,
    covers_encrypted,
    describe,
    describe_each,
    fit,
    grants_of,
    join,
    needed_statements,
    read_document,
    size_of,
    take_apart,
    to_document,
    to_shown,
    width_notices,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

NAMESPACE = ("StringEquals", "cloudwatch:namespace")
POLICY = "arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFitted{}Policy"
SERVER, ADMIN = POLICY.format("Server"), POLICY.format("Admin")
GROUP = "arn:aws:logs:eu-central-1:123456789012:log-group"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/AmazonCloudWatch-linux"
ANYWHERE = PARAMETER.replace("eu-central-1", "*")
LOGS = Statement(
    "sending log events", ("logs:CreateLogGroup", "logs:PutLogEvents"), (), (f"{GROUP}:a:*", f"{GROUP}:b:*")
)
METRICS = Statement("sending metrics", ("cloudwatch:PutMetricData",), NAMESPACE, ("CWAgent", "Shop"))


def document(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def test_a_document_is_read_as_it_was_written() -> None:
    written = to_document([LOGS, METRICS])
    assert read_document(written, SERVER) == (take_apart([LOGS, METRICS]), [])
    assert to_document(join(read_document(written, SERVER)[0])) == written
    storing = to_document([Statement("storing", ("ssm:PutParameter",), (), (PARAMETER, ANYWHERE))])
    assert grants_of(read_document(storing, ADMIN)[0]) == {
        ("ssm:PutParameter", (), name) for name in (PARAMETER, ANYWHERE)
    }


def test_statements_of_one_use_with_other_actions_get_different_sids() -> None:
    more = Statement(LOGS.use, ("logs:PutLogEvents",), (), (f"{GROUP}:c:*",))
    written = to_document([LOGS, METRICS, more, more])
    assert [each["Sid"] for each in written["Statement"]] == [
        *("SendingLogEvents", "SendingMetrics", "SendingLogEvents2", "SendingLogEvents3")
    ]
    assert grants_of(read_document(written, SERVER)[0]) == grants_of([LOGS, METRICS, more])


DECRYPTING = {"StringLike": {"kms:EncryptionContext:PARAMETER_ARN": PARAMETER}}


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": f"{GROUP}:*:*"},
            [Statement("", ("logs:PutLogEvents",), (), (f"{GROUP}:*:*",))],
        ),
        (
            {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": "*", "Condition": DECRYPTING},
            [Statement("", ("kms:Decrypt",), ("StringLike", "kms:EncryptionContext:PARAMETER_ARN"), (PARAMETER,))],
        ),
        (
            {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": [ANYWHERE, f"{ANYWHERE}:*"]},
            [Statement("", ("ssm:GetParameter",), (), (name,)) for name in (ANYWHERE, f"{ANYWHERE}:*")],
        ),
        (
            {"Effect": "Allow", "Action": ["ec2:DescribeTags"], "Resource": "*"},
            [Statement("", ("ec2:DescribeTags",), (), ("*",))],
        ),
        # AWS limits these of the row of ECS by nothing.
        (
            {"Effect": "Allow", "Action": ["ec2:DescribeInstances", "ecs:DescribeTaskDefinition"], "Resource": "*"},
            [Statement("", ("ec2:DescribeInstances", "ecs:DescribeTaskDefinition"), (), ("*",))],
        ),
        ({"Effect": "Deny", "Action": "logs:PutLogEvents", "Resource": f"{GROUP}:a:*"}, None),
        ({"Effect": "Allow", "NotAction": "logs:PutLogEvents", "Resource": f"{GROUP}:a:*"}, None),
        ({"Effect": "Allow", "Action": "logs:PutLogEvents", "NotResource": f"{GROUP}:a:*"}, None),
        (
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:a", "Condition": DECRYPTING},
            None,
        ),
        (
            {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"Bool": {"k": "true", "l": "true"}}},
            None,
        ),
        ("text", None),
    ],
)
def test_statements_that_are_never_written_are_told_apart(statement: Any, found: list[Statement] | None) -> None:
    for listed in (document(statement), {"Statement": statement}):
        own, others = read_document(listed, SERVER)
        assert (own, bool(others)) == (found or [], found is None)
        assert read_document(listed, ADMIN)[0] == []
        assert read_document(listed, ADMIN)[1]
    assert read_document({}, SERVER) == ([], [])


WIDE = ("*", "arn:*", "arn:aws:*", "arn:aws:ssm:*:*:parameter/x", "arn:aws:ssm:eu-*:123456789012:parameter/x")
FOREIGN_PARAMETERS = (
    *("/prod/db/password", "prod", "cwagent/keys/CloudWatchAgentAdminUser", "AmazonCloudWatch", "AmazonCloudWatch-"),
    *("*", "?", "AmazonCloudWatch-*", "AmazonCloudWatch-?", "AmazonCloudWatch-${aws:username}", "xAmazonCloudWatch-a"),
    *("AmazonCloudWatch-a/../b", "amazoncloudwatch-linux"),
)
IN_NAMES = ("arn:aws:ssm:eu-central-1:123456789012:parameter/{}", "arn:aws:ssm:*:123456789012:parameter/{}:*")
ELSEWHERE = (
    *(PARAMETER.replace("123456789012", each) for each in ("210987654321", "*", "")),
    *(PARAMETER.replace("arn:aws:", each) for each in ("arn:aws-cn:", "arn:*:")),
    *(PARAMETER.replace("eu-central-1", each) for each in ("eu-*", "EU", "")),
)
NAMESPACES, CLUSTERS = ("StringLike", "cloudwatch:namespace"), ("ArnEquals", "ecs:cluster")
PARAMETER_KEY = ("StringLike", "kms:EncryptionContext:PARAMETER_ARN")


@pytest.mark.parametrize(
    ("policy", "actions", "condition", "names"),
    [
        # By action: wildcards, and actions of no row.
        *(
            (SERVER, [each], None, ["*"])
            for each in ("*", "iam:*", "logs:*", "ec2:*", "s3:GetObject", "EC2:DescribeTags", "ec2:describetags")
        ),
        (SERVER, [], None, ["*"]),
        # By resource: IAM can limit these actions.
        *(
            (SERVER, [action], None, [name])
            for action in ("ssm:GetParameter", "logs:PutLogEvents", "logs:PutRetentionPolicy", "aps:RemoteWrite")
            for name in WIDE
        ),
        *((SERVER, ["sts:AssumeRole"], None, [each]) for each in ("*", "arn:aws:iam::123456789012:role/*")),
        *((SERVER, ["sts:AssumeRole"], None, [f"arn:aws:iam::{each}:role/A"]) for each in ("*", "", "12345678901?")),
        *((SERVER, ["ssm:GetParameter"], None, [form.format(n)]) for form in IN_NAMES for n in FOREIGN_PARAMETERS),
        *((SERVER, ["ssm:GetParameter"], None, [each]) for each in ELSEWHERE),
        *((SERVER, ["kms:Decrypt"], PARAMETER_KEY, [IN_NAMES[0].format(each)]) for each in FOREIGN_PARAMETERS),
        *((SERVER, ["kms:Decrypt"], PARAMETER_KEY, [each]) for each in (*ELSEWHERE, "*", f"{PARAMETER}:*")),
        *((SERVER, [each], None, ["*"]) for each in ("kms:Decrypt", "cloudwatch:PutMetricData", "ecs:ListTasks")),
        *(
            (SERVER, ["logs:PutLogEvents"], None, [f"{GROUP}:a:*".replace(*each)])
            for each in (("123456789012", "210987654321"), ("arn:aws:", "arn:aws-cn:"), (":a:", ":${aws:username}:"))
        ),
        (SERVER, ["logs:PutLogEvents"], None, [f"{GROUP}:a"]),
        (SERVER, ["aps:RemoteWrite"], None, ["arn:aws:aps:eu-central-1:210987654321:workspace/ws-1"]),
        # By condition.
        (SERVER, ["cloudwatch:PutMetricData"], NAMESPACES, ["*"]),
        (SERVER, ["cloudwatch:PutMetricData"], ("StringNotEquals", "cloudwatch:namespace"), ["Shop"]),
        (SERVER, ["cloudwatch:PutMetricData"], NAMESPACE, ["${aws:username}"]),
        *(
            (SERVER, ["ecs:ListTasks"], CLUSTERS, [f"arn:aws:ecs:{each}:cluster/shop"])
            for each in ("eu-central-1:*", "*:123456789012", "eu-central-1:210987654321")
        ),
        (SERVER, ["ec2:DescribeTags"], ("StringEquals", "aws:RequestedRegion"), ["eu-central-1"]),
        (SERVER, ["ssm:GetParameter"], PARAMETER_KEY, [PARAMETER]),
        # By access.
        (SERVER, ["ssm:PutParameter"], None, [PARAMETER]),
        (ADMIN, ["ssm:GetParameter"], None, [PARAMETER]),
        *((ADMIN, ["ssm:PutParameter"], None, [each]) for each in (*WIDE, *ELSEWHERE)),
        *((ADMIN, ["ssm:PutParameter"], None, [IN_NAMES[0].format(each)]) for each in FOREIGN_PARAMETERS),
    ],
)
def test_statements_of_any_other_form_are_told_apart(
    policy: str, actions: list[str], condition: tuple[str, str] | None, names: list[str]
) -> None:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": names}
    if condition:
        statement.update(Resource="*", Condition={condition[0]: {condition[1]: names}})
    own, others = read_document(document(statement), policy)
    assert own == []
    assert len(others) == 1


def test_a_part_of_a_statement_is_ours_if_somebody_has_extended_it() -> None:
    actions = ["logs:CreateLogGroup", "iam:PassRole", "logs:PutLogEvents"]
    names = [f"{GROUP}:a:*", "arn:aws:iam::123456789012:role/Admin"]
    extended = {"Sid": "SendingLogEvents", "Effect": "Allow", "Action": actions, "Resource": names}
    own, others = read_document(document(extended), SERVER)
    assert own == take_apart([replace(LOGS, names=(f"{GROUP}:a:*",))])
    assert others == [f"iam:PassRole on {names[0]}", *(f"{each} on {names[1]}" for each in actions)]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"Sid": "By\x1b[31mHand", "Effect": "Deny", "Action": "*", "Resource": "*"}, "statement By[31mHand"),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, "a statement without a Sid"),
        ("text", "a statement without a Sid"),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "\x1b[2Jx"}, "a:B on [2Jx"),
        (
            {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"Bool": {"a:Key": "true"}}},
            "a:B with a:Key true",
        ),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "x" * 193}, f"a:B on {'x' * 193}"),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "x" * 6000}, f"a:B on {'x' * 193}…"),
    ],
)
def test_anything_else_is_described_in_short_and_printable_words(statement: Any, words: str) -> None:
    assert read_document(document(statement), SERVER) == ([], [words])


STATEMENTS = st.one_of(
    st.builds(
        Statement,
        st.sampled_from(["sending log events", "X-Ray"]),
        st.sampled_from([LOGS.actions, LOGS.actions[:1]]),
        st.just(()),
        st.lists(st.sampled_from([f"{GROUP}:a:*", f"{GROUP}:*:*", f"{GROUP}:b:*"]), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Statement, st.just("x"), st.just(METRICS.actions), st.just(NAMESPACE), st.sampled_from([("*",), ("a", "b")])
    ),
    st.just(Statement("reading tags", ("ec2:DescribeTags",))),
)


@given(st.lists(STATEMENTS, max_size=30))
def test_nothing_is_lost_on_the_way_to_a_document_and_back(statements: list[Statement]) -> None:
    written = to_document(join(take_apart(statements)))
    assert grants_of(read_document(written, SERVER)[0]) == grants_of(statements)
    assert read_document(written, SERVER)[1] == []
    assert len({each["Sid"] for each in written["Statement"]}) == len(written["Statement"])


def test_the_size_counts_no_white_space_and_the_longest_names() -> None:
    assert size_of([LOGS]) == len(str(to_document([LOGS])).replace(", ", ",").replace(": ", ":"))
    short = Statement("x", ("a:B",), (), ("arn:{partition}::{account}",))
    assert size_of([short]) == size_of([Statement("x", ("a:B",), (), ("arn:aws-us-gov::123456789012",))])


def test_more_policies_than_a_principal_can_have_are_refused() -> None:
    check_number(MAX_POLICIES)
    with pytest.raises(InvalidInput, match="more than 8 managed policies of 6144 characters"):
        check_number(MAX_POLICIES + 1)


READING = Statement("reading", ("ssm:GetParameter",), (), (PARAMETER,))
DECRYPTED = Statement("decrypting", ("kms:Decrypt",), PARAMETER_KEY, (PARAMETER,))
TAGS = Statement("reading tags", ("ec2:DescribeTags",))


@pytest.mark.parametrize(
    ("statements", "shown", "groups", "namespaces"),
    [
        ([LOGS, METRICS, READING], None, LOGS.names, METRICS.names),
        ([LOGS, METRICS, DECRYPTED], [*LOGS.names, *METRICS.names], LOGS.names, METRICS.names),
        ([LOGS, METRICS, DECRYPTED], [LOGS.names[1], "Shop"], [LOGS.names[1], 1], ["Shop", 1]),
        ([LOGS, METRICS, DECRYPTED], [], [2], [2]),
    ],
)
def test_output_counts_the_resources_of_encrypted_configurations(
    statements: list[Statement], shown: list[str] | None, groups: list[Any], namespaces: list[Any]
) -> None:
    foreign = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    written = to_document([*statements, TAGS])
    found = to_shown({**written, "Statement": [*written["Statement"], foreign, "text"]}, shown)
    ends = {
        1: "1 not shown, because configurations are encrypted",
        2: "2 not shown, because configurations are encrypted",
    }
    assert found[0]["Resource"] == [ends.get(each, each) for each in groups]
    assert found[1]["Condition"]["StringEquals"]["cloudwatch:namespace"] == [
        ends.get(each, each) for each in namespaces
    ]
    assert found[2:] == [*to_document(statements)["Statement"][2:], *to_document([TAGS])["Statement"], foreign, "text"]
    assert [each["Sid"] for each in found[:3]] == [each["Sid"] for each in written["Statement"][:3]]


def test_a_description_counts_what_is_hidden() -> None:
    grants = grants_of([LOGS, METRICS, READING, DECRYPTED, TAGS])
    assert describe_each(grants, None) == [describe(each) for each in sorted(grants)]
    first = LOGS.names[0]
    found = describe_each(grants, [first, "Shop"])
    hidden = [each for each in found if "(not shown, because configurations are encrypted)" in each]
    assert len(hidden) == len(LOGS.actions) + len(METRICS.actions)
    assert all(" 1 (not shown" in each for each in hidden)
    assert {*found} - {*hidden} == {describe(each) for each in grants if each[2] in (first, "Shop", "*", PARAMETER)}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([], False),
        ([[LOGS], [READING]], False),
        ([[LOGS], [DECRYPTED]], True),
        ([[DECRYPTED], [LOGS]], True),
    ],
)
def test_one_of_several_policies_covers_an_encrypted_configuration(
    documents: list[list[Statement]], expected: bool
) -> None:
    assert covers_encrypted([to_document(each) for each in documents]) == expected


def test_an_action_that_is_no_list_decrypts_too() -> None:
    listed = [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}, "text"]
    assert covers_encrypted([{"Statement": listed}])


FITTING = MAX_POLICY - size_of([replace(METRICS, names=("",))])


@pytest.mark.parametrize("length", [1, 2, 100, FITTING - 1, FITTING])
def test_a_statement_fits_a_policy_with_each_of_its_names(length: int) -> None:
    check_size([LOGS, replace(METRICS, names=("x", "x" * length))])


@pytest.mark.parametrize("length", [FITTING + 1, FITTING + 2, 7_000])
def test_a_statement_that_no_policy_can_have_is_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"^the statement for a name of {length:,} characters has [67],"):
        check_size([LOGS, replace(METRICS, names=("x", "x" * length))])


ACCOUNT, REGION, OTHER_REGION = "123456789012", "eu-central-1", "eu-west-1"
ROLE = "arn:aws:iam::210987654321:role/Central"
SCOPE = Scope("aws", ACCOUNT, ("orders/*",))
NAME = "AmazonCloudWatch-linux"


def source(config, *regions, **more):
    return Source(NAME, config, (NAME,), regions or (REGION,), **more)


def files(*entries):
    return {"logs": {"logs_collected": {"files": {"collect_list": list(entries)}}}}


def file(group):
    return files({"file_path": "/a.log", "log_group_name": group})


def metrics(**more):
    return {"metrics": {"metrics_collected": {"mem": {}}, **more}}


def logged(name, **entry):
    return {"logs": {"metrics_collected": {name: entry}}}


def collect(name, **entry):
    return {"opentelemetry": {"collect": {name: {"collect_list": [entry]}}}}


def permissions(policies):
    """Each action with one name of a resource, or with one value of a condition."""
    found = set()
    for statement in (each for policy in policies for each in policy["Statement"]):
        names = [(name, "") for name in statement["Resource"]]
        if "Condition" in statement:
            [keys] = statement["Condition"].values()
            [(key, values)] = keys.items()
            names = [(value, key) for value in values]
        found |= {(action, *name) for action in statement["Action"] for name in names}
    return found


def resources(config, action="logs:PutLogEvents", *regions, scope=SCOPE):
    return sorted(
        name for each, name, _key in permissions(fit([source(config, *regions)], scope).policies) if each == action
    )


def groups(config, *regions):
    """The patterns of log groups, without the places that are the same for each."""
    return [
        name.split(":log-group:")[1].removesuffix(":*") for name in resources(config, "logs:PutLogEvents", *regions)
    ]


def refusal(*configs, scope=None, **more):
    with pytest.raises(InvalidInput) as error:
        fit([source(each, **more) for each in configs], scope or Scope())
    return str(error.value)


def test_the_statements_say_what_they_are_for_and_are_sorted():
    [policy] = fit([source({**metrics(), **file("app")})], SCOPE).policies
    assert policy == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ReadingTheConfiguration",
                "Effect": "Allow",
                "Action": ["ssm:GetParameter"],
                "Resource": [PARAMETER, f"{PARAMETER}:*"],
            },
            {
                "Sid": "SendingLogEvents",
                "Effect": "Allow",
                "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:app:*"],
            },
            {
                "Sid": "SendingMetrics",
                "Effect": "Allow",
                "Action": ["cloudwatch:PutMetricData"],
                "Resource": "*",
                "Condition": {"StringEquals": {"cloudwatch:namespace": ["CWAgent"]}},
            },
        ],
    }


def arn(service, resource, region=REGION):
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


ECS = {"sd_target_cluster": "shop", "sd_cluster_region": OTHER_REGION, "service_name_list_for_tasks": [{}]}
IN_CLUSTER = (arn("ecs", "cluster/shop", OTHER_REGION), "ecs:cluster")
PARTS = {
    "a counter of Windows": (
        {"metrics": {"metrics_collected": {"LogicalDisk": {}, "Paging File": {}}}},
        {("cloudwatch:PutMetricData", "CWAgent", "cloudwatch:namespace")},
    ),
    "metrics of the agent": (
        {"agent": {"system_metrics_enabled": True}},
        {("cloudwatch:PutMetricData", "CWAgent/System", "cloudwatch:namespace")},
    ),
    "Prometheus": (
        {"metrics": {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}}}},
        {("aps:RemoteWrite", arn("aps", "workspace/ws-1"), "")},
    ),
    "a cluster": (
        {"logs": {"credentials": {"role_arn": ROLE}, **logged("prometheus", ecs_service_discovery=ECS)["logs"]}},
        {
            *((f"ecs:{each}", *IN_CLUSTER) for each in ("DescribeContainerInstances", "DescribeTasks", "ListTasks")),
            *((f"ecs:{each}", *IN_CLUSTER) for each in ("DescribeServices", "ListServices")),
            *((each, "*", "") for each in ("ec2:DescribeInstances", "ecs:DescribeTaskDefinition")),
            ("sts:AssumeRole", ROLE, ""),
            ("ec2:DescribeTags", "*", ""),
        },
    ),
    "a retention": (
        files({"file_path": "/a.log", "retention_in_days": 3}),
        {
            *((f"logs:{each}", arn("logs", "log-group:/a:*"), "") for each in ("CreateLogGroup", "CreateLogStream")),
            *((f"logs:{each}", arn("logs", "log-group:/a:*"), "") for each in ("PutLogEvents", "PutRetentionPolicy")),
            ("logs:PutRetentionPolicy", arn("logs", "log-group:/a"), ""),
            ("logs:DescribeLogGroups", "*", ""),
        },
    ),
    "traces": (
        {"traces": {"traces_collected": {"otlp": {}}}},
        {(f"xray:{each}", "*", "") for each in ("PutTelemetryRecords", "PutTraceSegments")},
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_gets_its_permissions_and_no_others(name):
    config, expected = PARTS[name]
    reads = {("ssm:GetParameter", each, "") for each in (PARAMETER, f"{PARAMETER}:*")}
    assert permissions(fit([source(config)], SCOPE).policies) - reads == expected


MULTI = {"publish_multi_logs": True}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (file("app"), ["app"]),
        (file("/x/{instance_id}/{hostname}{local_hostname}-{ip_address}.{date}"), ["/x/*/*-*.*"]),
        (file("a-{aws_region}"), [f"a-{REGION}"]),
        (file("a-{account_id}"), [f"a-{ACCOUNT}", "a-UNKNOWN-ACCOUNT"]),
        (files({"file_path": "/var/log/messages"}), ["/var/log/messages"]),
        (files({"file_path": "/var/log/x.d/app.log.1"}), ["/var/log/x.d/app.log"]),
        (files({"file_path": "/var/log/x.d/app", "log_group_name": ""}), ["/var/log/x.d/app"]),
        (files({"file_path": "/a/**/x[0-9].{log,txt}", **MULTI}), ["/a/*/x*.*"]),
        (files({"file_path": "C:\\logs dir\\a.log", **MULTI}), ["C_/logs_dir/a.log"]),
        (files({"file_path": "/a/*.log", "log_group_name": "own", **MULTI}), ["own"]),
        (logged("prometheus", log_group_name="/p/{ClusterName}/{aws_region}"), ["/p/*/*"]),
        (logged("otlp"), ["/aws/cwagent"]),
        (collect("files"), ["/aws/cwagent/files"]),
        (collect("windows_events"), ["/aws/cwagent/windows_events"]),
        (collect("files", log_group_name="own-{date}"), ["own-*"]),
        (logged("emf"), ["emf/logs/default", "orders/*"]),
        (logged("structuredlog"), ["emf/logs/default", "orders/*"]),
    ],
)
def test_the_log_groups_of_a_configuration(config, expected):
    assert groups(config) == expected


def test_log_groups_are_in_the_regions_of_the_agents_or_in_its_own():
    config = file("a-{aws_region}")
    assert groups(config, "us-east-1", "us-west-2") == ["a-us-east-1", "a-us-west-2"]
    config["agent"] = {"region": "eu-west-1"}
    assert groups(config, "us-east-1") == ["a-eu-west-1"]
    assert resources(config, "ssm:GetParameter", "us-east-1")[0].startswith("arn:aws:ssm:us-east-1:")


def test_places_that_are_not_known_are_left_open():
    [policy] = fit([Source(NAME, file("a-{aws_region}"), (NAME,))], Scope()).policies
    assert {name for _action, name, _key in permissions([policy])} == {
        f"arn:{PARTITION}:logs:*:{ANY_ACCOUNT}:log-group:a-*:*",
        f"arn:{PARTITION}:ssm:*:{ANY_ACCOUNT}:parameter/{NAME}",
        f"arn:{PARTITION}:ssm:*:{ANY_ACCOUNT}:parameter/{NAME}:*",
    }


NO_METRICS = [
    {"metrics": {"metrics_collected": {"prometheus": {}}, "metrics_destinations": {"amp": {"workspace_id": "ws-1"}}}},
    metrics(metrics_destinations={"amp": {"workspace_id": "ws-1"}}),
    logged("emf"),
    logged("otlp"),
    logged("prometheus", log_group_name="p", emf_processor={"metric_namespace": "Other"}),
    metrics(credentials={"role_arn": ROLE}),
]


@pytest.mark.parametrize("config", NO_METRICS)
def test_a_configuration_that_sends_no_metrics_to_cloudwatch_gets_no_permission_for_it(config):
    assert resources(config, "cloudwatch:PutMetricData") == []


@pytest.mark.parametrize(
    ("namespace", "allowed"), [("Shop", "Shop"), ("a {region} *", "a {region} *"), ("", "CWAgent"), (7, "7")]
)
def test_a_namespace_is_taken_as_it_is(namespace, allowed):
    assert resources(metrics(namespace=namespace), "cloudwatch:PutMetricData") == [allowed]


def test_only_the_role_that_the_agent_assumes_gets_the_permission_to_be_assumed():
    config = {"agent": {"credentials": {"role_arn": ROLE}}, **metrics(), **file("a"), **collect("host_metrics")}
    actions = {action for action, _name, _key in permissions(fit([source(config)], SCOPE).policies)}
    assert actions == {"ssm:GetParameter", "sts:AssumeRole", "ec2:DescribeTags"}
    assert resources(config, "sts:AssumeRole") == [ROLE]


def test_an_encrypted_configuration_is_decrypted():
    allowed = permissions(fit([source(metrics(), is_encrypted=True)], SCOPE).policies)
    assert ("kms:Decrypt", PARAMETER, "kms:EncryptionContext:PARAMETER_ARN") in allowed
    assert {action for action, _name, _key in permissions(fit([source(metrics())], SCOPE).policies)} == {
        "ssm:GetParameter",
        "cloudwatch:PutMetricData",
    }


UNKNOWN = "the table of permissions does not contain this section."
CLUSTER = "sd_cluster_region and sd_target_cluster must name the cluster."
REFUSED = {
    "YAML": ("receivers: {}", "the permissions for an OpenTelemetry configuration in YAML are not known."),
    "a section": ({"csm": {}}, f"$.csm: {UNKNOWN}"),
    "a plug-in": ({"metrics": {"metrics_collected": {"new": {}}}}, f"$.metrics.metrics_collected.new: {UNKNOWN}"),
    "a kind of logs": ({"logs": {"logs_collected": {"new": {}}}}, f"$.logs.logs_collected.new: {UNKNOWN}"),
    "logged metrics": (logged("new"), f"$.logs.metrics_collected.new: {UNKNOWN}"),
    "traces": ({"traces": {"traces_collected": {"new": {}}}}, f"$.traces.traces_collected.new: {UNKNOWN}"),
    "collected by OpenTelemetry": (collect("new"), f"$.opentelemetry.collect.new: {UNKNOWN}"),
    "traces of another resource": (
        {"traces": {"resource_arn": "arn:aws:ec2"}},
        "$.traces.resource_arn: whether the agent needs more permissions for another resource is not known.",
    ),
    "a region": ({"agent": {"region": "*"}}, "$.agent.region: '*' is not a region."),
    "a region of another type": ({"agent": {"region": []}}, "$.agent.region: a list without entries is not a region."),
    **{
        name: (logged(name), "the name of its log group contains the name of the cluster, which the host knows.")
        for name in ("ecs", "kubernetes")
    },
    **{
        name: (logged(name), "applications choose the log groups, and its metrics have no namespace.")
        for name in ("app_signals", "application_signals")
    },
    "logs of applications": (
        {"logs": {"logs_collected": {"application_signals": {}}}},
        (
            "$.logs.logs_collected.application_signals: applications choose the log groups, and its metrics have no "
            "namespace."
        ),
    ),
    **{
        f"OpenTelemetry's {name}": (
            collect(name),
            f"collect.{name}: it sends metrics without a namespace, and how IAM decides about them is not known.",
        )
        for name in ("container_insights", "database_insights", "host_metrics", "otlp", "prometheus")
    },
    **{
        name: (
            logged(name),
            (
                f"$.logs.metrics_collected.{name}: applications choose the log groups; list them in emf_log_groups "
                "(cwagent_emf_log_groups in the playbooks)."
            ),
        )
        for name in ("emf", "structuredlog")
    },
    "events without a group": (
        {"logs": {"logs_collected": {"windows_events": {"collect_list": [{"event_name": "System"}]}}}},
        "windows_events.collect_list[0]: log_group_name is missing, and the agent has no default for it.",
    ),
    "Prometheus without a group": (logged("prometheus"), "log_group_name is missing, and the agent has no default"),
    "the default group of many files": (
        files({"file_path": "/var/log/*.log"}),
        "without log_group_name, the log group would be '/var/log/*', which is not a valid name.",
    ),
    "the default group on Windows": (files({"file_path": "C:\\a.log"}), "the log group would be 'C:\\\\a', which"),
    "a file without a path": (files({}), "the log group would be '', which is not a valid name."),
    "a wildcard": (file("*"), "'*' is not a valid name of a log group."),
    "a placeholder that is none": (file("a-{region}"), "'a-{region}' is not a valid name of a log group."),
    "a placeholder in another": (file("{aws_{hostname}region}"), "is not a valid name of a log group"),
    "a variable in a group": (file("a-${X}"), "'a-${X}' contains an environment variable, whose value is not known."),
    "a variable as a group": (file("${APP}"), "contains an environment variable"),
    "a variable in a path": (files({"file_path": "/var/${APP}/x.log"}), "contains an environment variable"),
    "a variable in the path of many files": (
        files({"file_path": "/var/${APP}/x.log", **MULTI}),
        "contains an environment variable",
    ),
    "many files without a path": (files({"file_path": "", **MULTI}), "which is not a valid name"),
    "a variable in a namespace": (
        metrics(namespace="${aws:username}"),
        "$.metrics: '${aws:username}' contains an environment variable, whose value is not known.",
    ),
    "a role": ({"agent": {"credentials": {"role_arn": "*"}}}, "$.agent.credentials.role_arn: '*' is not the ARN of a"),
    "a workspace": (
        metrics(metrics_destinations={"amp": {"workspace_id": "*"}}),
        "$.metrics.metrics_destinations.amp.workspace_id: '*' is not the ID of a workspace.",
    ),
    "no cluster": (logged("prometheus", log_group_name="p", ecs_service_discovery={"sd_cluster_region": "x"}), CLUSTER),
    "every cluster": (
        logged(
            "prometheus",
            log_group_name="p",
            ecs_service_discovery={"sd_cluster_region": "x", "sd_target_cluster": "*"},
        ),
        CLUSTER,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_part_that_nothing_limits_is_refused_by_name(name):
    config, why = REFUSED[name]
    found = refusal(config)
    assert found.startswith(f"No fitted policy is possible. {NAME}: ")
    assert why in found


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_shows_nothing_of_an_encrypted_configuration(name):
    assert refusal(REFUSED[name][0], is_encrypted=True) == (
        f"No fitted policy is possible. {NAME}: no policy can be made of its text, which is not shown because it is "
        "encrypted."
    )


def test_all_parts_are_refused_in_one_message():
    found = refusal({**logged("emf"), **collect("otlp")}, file("*"))
    assert [each in found for each in ("emf", "otlp", "'*'")] == [True] * 3


@pytest.mark.parametrize("name", ["new", "a b", "$", ""])
def test_a_listed_log_group_must_be_a_name(name):
    found = ["orders/*", name]
    if name == "new":
        assert "logs:PutLogEvents" in str(fit([source(logged("emf"))], Scope(emf_log_groups=tuple(found))))
    else:
        assert "is not a valid name of a log group" in refusal(logged("emf"), scope=Scope(emf_log_groups=tuple(found)))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("{instance_id}-app", "*-app"),
        ("/{hostname}", "/*"),
        ("/aws/{hostname}", "/aws/*"),
        ("/aws{hostname}", "/aws*"),
        ("b{hostname}", ""),
        ("/b/{hostname}", ""),
    ],
)
def test_a_notice_tells_that_the_name_of_a_log_group_can_be_nearly_any(name, pattern):
    config = files({"file_path": "/a", "log_group_name": name, "retention_in_days": 1})
    told = (
        f"The policy allows very many log groups, because of {NAME} ($.logs.logs_collected.files.collect_list[0]): "
        f"all whose names match {pattern}."
    )
    retention = f"{told} It also allows setting their retention."
    assert fit([source(config)], SCOPE).notices == ((retention,) if pattern else ())
    assert fit([source(file(name))], SCOPE).notices == ((told,) if pattern else ())


def test_a_notice_about_log_groups_names_each_configuration_and_path_that_needs_them():
    """Of the log groups in a SecureString, the parameter alone is named."""
    wide, narrow = {"file_path": "/a", "log_group_name": "{hostname}"}, {"file_path": "/a", "log_group_name": "b"}
    group_of_region = {"file_path": "/a", "log_group_name": "{hostname}-{aws_region}"}
    sources = [
        replace(source(config, **more), parameters=(name,))
        for name, config, more in (
            ("one", files(narrow, wide), {}),
            ("two", files(narrow), {}),
            ("three", files(wide), {"is_encrypted": True}),
            ("four", files(group_of_region), {}),
        )
    ]
    first = "$.logs.logs_collected.files.collect_list"
    of_region, notice = fit(sources, SCOPE).notices
    assert f", because of one ({first}[1]), three: all whose names match *." in notice
    assert f", because of four ({first}[0]): all whose names match *-{REGION}." in of_region


def test_a_notice_lists_each_role_that_servers_may_assume_with_its_parameters():
    other = f"{ROLE}2"
    one = {"agent": {"credentials": {"role_arn": ROLE}}, "logs": {"credentials": {"role_arn": other}}}
    two = {"metrics": {"credentials": {"role_arn": ROLE}}}
    sources = [replace(source(config), parameters=(name,)) for config, name in ((one, "a"), (two, "b"), (one, "a"))]
    assert [each.partition(". ")[0] for each in fit(sources, SCOPE).notices] == sorted(
        [
            f"The policy lets servers assume {ROLE}, because of a, b",
            f"The policy lets servers assume {other}, because of a",
        ]
    )


RETAINED = {"file_path": "/a", "log_group_name": "{hostname}", "retention_in_days": 3}


def test_notices_count_the_resources_of_encrypted_configurations():
    config = {**file("{hostname}"), "metrics": {"credentials": {"role_arn": ROLE}}}
    encrypted = Source("a", config, ("a",), (REGION,), is_encrypted=True)
    needed = needed_statements([encrypted], SCOPE)
    groups, roles = width_notices(needed, [encrypted], ())
    assert groups == "The policy allows very many log groups, because of 1 pattern in encrypted configurations."
    assert roles.startswith("The policy lets servers assume a role of an encrypted configuration, because of a. ")
    forms = needed_statements([source({**config, "logs": files(RETAINED)["logs"]}, is_encrypted=True)], SCOPE)
    assert [each for each in width_notices(forms, [], ()) if "log groups" in each] == [groups], "counted once"
    shown = {name for each in needed for name in each.names}
    assert [*width_notices(needed, [encrypted], shown)] == [*width_notices(needed, [encrypted])]
    assert ROLE in str([*width_notices(needed, [encrypted])])


def many(count):
    return file_list(f"group-{number:04d}" for number in range(count))


def file_list(names):
    return files(*({"file_path": f"/{each}.log", "log_group_name": each} for each in names))


def size(policy):
    return len(json.dumps(policy, separators=(",", ":")))


def test_a_long_policy_is_split():
    config = many(200)
    policies = fit([source(config)], SCOPE).policies
    assert len(policies) > 1
    assert max(map(size, policies)) <= MAX_POLICY
    assert min(map(size, policies[:-1])) > MAX_POLICY - 100, "each is as long as possible"
    assert len([each for each in permissions(policies) if each[0] == "logs:PutLogEvents"]) == 200


def test_the_length_counts_the_longest_partition_and_account():
    policies = fit([source(many(200), "us-gov-west-1")], Scope()).policies
    in_aws = [
        json.loads(json.dumps(each).replace(PARTITION, "aws-us-gov").replace(ANY_ACCOUNT, ACCOUNT)) for each in policies
    ]
    assert MAX_POLICY - 120 < max(map(size, in_aws)) <= MAX_POLICY


def test_a_policy_that_is_too_long_is_refused():
    found = refusal(many(1000))
    assert f"It would need more than {MAX_POLICIES} managed policies of {MAX_POLICY} characters" in found


def measured(length, section):
    """A configuration with a name of this length, by the section that the refusal shows."""
    text = "x" * length
    return {
        "logs.logs_collected.files.collect_list[0]": file(text),
        "metrics": metrics(namespace=text),
        "metrics.metrics_destinations.amp.workspace_id": {
            "metrics": {"metrics_destinations": {"amp": {"workspace_id": text}}}
        },
        "agent.credentials.role_arn": {"agent": {"credentials": {"role_arn": f"{ROLE}{text}"}}},
        "opentelemetry.collect.files.collect_list[0]": collect("files", file_path="/a", log_group_name=text),
        "logs.metrics_collected.prometheus.ecs_service_discovery": logged(
            "prometheus",
            log_group_name="a",
            ecs_service_discovery={"sd_target_cluster": text, "sd_cluster_region": REGION},
        ),
        "metrics (escaped)": metrics(namespace="\N{LATIN SMALL LETTER E WITH ACUTE}" * length),
    }[section]


@pytest.mark.parametrize(
    "section",
    [
        "logs.logs_collected.files.collect_list[0]",
        "metrics",
        "metrics.metrics_destinations.amp.workspace_id",
        "agent.credentials.role_arn",
        "opentelemetry.collect.files.collect_list[0]",
        "logs.metrics_collected.prometheus.ecs_service_discovery",
        "metrics (escaped)",
    ],
)
@given(st.one_of(st.integers(1, 7000), st.integers(5800, 6200)))
@example(1)
@example(6100)
@example(70_000)
def test_a_statement_of_any_length_fits_or_is_refused_with_its_section(section, length):
    try:
        policies, refused = fit([source(measured(length, section))], SCOPE).policies, ""
    except InvalidInput as error:
        policies, refused = (), str(error)
    if refused:
        assert length > 500
        assert f"{NAME}: $.{section.partition(' ')[0]}: the statement for a name of " in refused
        assert refused.endswith("and a managed policy has 6,144 at most; use a shorter name.")
        assert len(refused) < 400
    else:
        assert max(map(size, policies)) <= MAX_POLICY
        assert length < MAX_POLICY


PIECES = [
    {"agent": {"region": "eu-west-1"}},
    {"agent": {"region": "eu-west-1", "credentials": {"role_arn": ROLE}}},
    {"metrics": {"namespace": "Shop"}},
    {"metrics": {"append_dimensions": {"AutoScalingGroupName": "${aws:AutoScalingGroupName}"}}},
    {"metrics": {"metrics_collected": {"disk": {"append_dimensions": {"VolumeId": "${aws:VolumeId}"}}}}},
    {"metrics": {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}}}},
    {"metrics": {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}, "cloudwatch": {}}}},
    metrics(),
    file("a-{aws_region}"),
    files({"file_path": "/b.log", "retention_in_days": 3}),
    {"logs": {"credentials": {"role_arn": ROLE}}},
    {"traces": {"traces_collected": {"xray": {}}}},
    collect("files"),
]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4, unique_by=repr))
def test_the_policy_allows_what_any_merge_of_the_configurations_needs(pieces):
    """The agent of a host can merge any of the configurations, whose order does not matter."""
    sources = [source(each) for each in pieces]
    assert fit(sources, SCOPE) == fit(sources[::-1], SCOPE)
    together = permissions(fit(sources, SCOPE).policies)
    for count in range(1, len(pieces) + 1):
        for chosen in combinations(pieces, count):
            try:
                merged = merge(chosen)
            except InvalidInput:
                continue
            assert permissions(fit([source(merged)], SCOPE).policies) <= together


WITH_ROLE = {
    "agent": {"credentials": {"role_arn": ROLE}},
    "metrics": {"metrics_collected": {name: {"measurement": [f"{name}_x"]} for name in ("cpu", "disk", "mem", "net")}},
    **files(*({"file_path": f"/{number}.log", "log_group_name": f"group-{number}"} for number in range(6))),
    "traces": {"traces_collected": {"xray": {}}},
}


def parts_as_sources(config, limit=300, **more):
    parts = split(config, limit)
    names = part_names(NAME, len(parts))
    return [Source(name, part, (name,), (REGION,), **more) for name, part in zip(names, parts, strict=True)]


def actions_of(sources):
    return {action for action, _name, _key in permissions(fit(sources, SCOPE).policies)}


@given(st.integers(200, 2000), st.sampled_from([("agent",), ("metrics", "logs", "traces"), ("logs",), ()]))
def test_the_parts_of_a_configuration_need_the_actions_of_the_whole(limit, sections):
    config = {**json.loads(json.dumps(WITH_ROLE)), "agent": {"region": REGION}}
    for each in sections:
        config[each]["credentials"] = {"role_arn": ROLE}
    sources = parts_as_sources(config, limit)
    whole = Source(NAME, config, tuple(each.name for each in sources), (REGION,))
    for given_order in (sources, sources[::-1]):
        assert actions_of(given_order) == actions_of([whole])


FIRST, *OTHERS = parts_as_sources(WITH_ROLE, 300)
WITHOUT_ROLE = {"metrics": WITH_ROLE["metrics"]}


@pytest.mark.parametrize(
    ("sources", "is_covered"),
    [
        ([FIRST, *OTHERS], True),
        ([replace(FIRST, regions=()), *OTHERS], True),
        ([FIRST, replace(FIRST, config=WITHOUT_ROLE, regions=(OTHER_REGION,)), *OTHERS], True),
        ([FIRST, replace(FIRST, config={**WITHOUT_ROLE, **WITH_ROLE}), *OTHERS], True),
        (OTHERS, False),
        # An agent can have the version without the role.
        ([FIRST, replace(FIRST, config=WITHOUT_ROLE), *OTHERS], False),
        ([FIRST, replace(FIRST, config="receivers: {}"), *OTHERS], False),
        ([FIRST, replace(FIRST, config=WITHOUT_ROLE, regions=()), *OTHERS], False),
        ([replace(FIRST, regions=(OTHER_REGION,)), *OTHERS], False),
        ([FIRST, *(replace(each, regions=(REGION, OTHER_REGION)) for each in OTHERS)], False),
        ([FIRST, *(replace(each, regions=()) for each in OTHERS)], False),
        (
            [
                replace(FIRST, regions=()),
                replace(FIRST, config=WITHOUT_ROLE, regions=(OTHER_REGION,)),
                *(replace(each, regions=()) for each in OTHERS),
            ],
            False,
        ),
        # Other configurations, according to their names.
        ([replace(FIRST, parameters=("AmazonCloudWatch-other",)), *OTHERS], False),
        ([FIRST, *OTHERS[1:]], False),
        ([FIRST, replace(OTHERS[-1], parameters=(f"{NAME}-0",))], False),
    ],
)
def test_the_role_in_a_part_covers_another_part_if_all_its_versions_have_it(sources, is_covered):
    [*_others, compiled] = compile_each(sources, SCOPE)
    own = {action for each in compiled.statements for action in each.actions} - {"ssm:GetParameter"}
    assert not own if is_covered else own


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "*", "${x}", "a-{hostname}", "/a.log"]),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.sampled_from(["mem", "file_path", "x"]), each),
    max_leaves=4,
)


@st.composite
def broken(draw):
    """A configuration with a value of any type in one place."""
    config = json.loads(json.dumps(draw(st.sampled_from([*PIECES, *(config for config, _expected in PARTS.values())]))))
    place, keys = config, []
    while isinstance(place, (dict, list)) and place and draw(st.integers(0, 3)):
        keys = [*keys, (place, draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))))]
        place = place[keys[-1][1]]
    if keys:
        parent, key = keys[-1]
        parent[key] = draw(JSON)
    return config


@given(broken())
def test_a_broken_configuration_is_compiled_or_refused(config):
    try:
        policies = fit([source(config)], SCOPE).policies
    except InvalidInput:
        return
    assert all(isinstance(name, str) for _action, name, _key in permissions(policies))
    # No value of a configuration can add a resource that is every one, apart from actions that IAM cannot limit.
    limited = {"ssm:GetParameter", "logs:PutLogEvents", "logs:PutRetentionPolicy", "aps:RemoteWrite", "sts:AssumeRole"}
    assert not [each for each in permissions(policies) if each[0] in limited and each[1] == "*"]


TRACES = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")


@pytest.mark.parametrize(
    ("config", "calls"),
    [
        # A condition becomes the context of the call, and not its resource.
        (
            metrics(namespace="Shop"),
            [Call("cloudwatch:PutMetricData", ("*",), (("cloudwatch:namespace", "Shop"),))],
        ),
        # A log group is called with its streams.
        (
            file("shop"),
            [
                Call(f"logs:{each}", (f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:shop:log-stream:*",))
                for each in ("CreateLogGroup", "CreateLogStream", "PutLogEvents")
            ],
        ),
        # The retention of a log group is set without one.
        (
            {
                "logs": {
                    "logs_collected": {"journald": {"collect_list": [{"log_group_name": "s", "retention_in_days": 3}]}}
                }
            },
            [
                *(
                    Call(f"logs:{each}", (f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:s:log-stream:*",))
                    for each in ("CreateLogGroup", "CreateLogStream", "PutLogEvents")
                ),
                Call(
                    "logs:PutRetentionPolicy",
                    tuple(f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:s{each}" for each in ("", ":*")),
                ),
            ],
        ),
        ({"traces": {"traces_collected": {"otlp": {}}}}, [Call(each) for each in TRACES]),
    ],
)
def test_the_calls_of_an_agent_are_those_that_its_policy_allows(config, calls):
    assert [each for need in permissions_of(config) for each in calls_for(need, REGION, SCOPE)] == calls
