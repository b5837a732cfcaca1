from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._agents.endpoints import Endpoint, endpoints_of, label

REGION = "eu-central-1"
GROUP = {"AutoScalingGroupName": "${aws:AutoScalingGroupName}"}
TEAM = {"team": "${aws:AutoScalingGroupName}"}
VOLUME = {"disk": {"append_dimensions": {"VolumeId": "${aws:VolumeId}"}}}
ROLE = {"role_arn": "arn:aws:iam::123456789012:role/agent"}
CPU = {"metrics_collected": {"cpu": {"measurement": ["usage_idle"]}}}
FILES = {"logs_collected": {"files": {"collect_list": [{"file_path": "/a"}]}}}


def collect(source):
    return {"opentelemetry": {"collect": {source: {}}}}


def metrics(**more):
    return {"metrics": {**CPU, **more}}


# By configuration, the services on EC2, and the services among them that the agent calls there only.
CASES = [
    ({}, "", ""),
    ({"agent": {"region": REGION}}, "", ""),
    ({"agent": {"system_metrics_enabled": True}}, "monitoring", ""),
    ({"agent": {"system_metrics_enabled": False}}, "", ""),
    (metrics(), "monitoring", ""),
    (metrics(metrics_destinations={"amp": {"workspace_id": "ws-1"}}), "aps-workspaces", ""),
    (metrics(metrics_destinations={"amp": {}, "cloudwatch": {}}), "aps-workspaces monitoring", ""),
    (metrics(append_dimensions=GROUP), "monitoring", "ec2"),
    (metrics(append_dimensions={"InstanceId": "${aws:InstanceId}"}), "monitoring", ""),
    (metrics(append_dimensions={"AutoScalingGroupName": "web"}), "monitoring", ""),
    ({"metrics": {"metrics_collected": {"cpu": {"append_dimensions": GROUP}}}}, "monitoring", "ec2"),
    ({"metrics": {"metrics_collected": {"cpu": {"append_dimensions": TEAM}}}}, "monitoring", "ec2"),
    ({"metrics": {"metrics_collected": {"statsd": {"append_dimensions": GROUP}}}}, "monitoring", ""),
    ({"metrics": {"metrics_collected": {"procstat": [{"append_dimensions": GROUP}]}}}, "monitoring", "ec2"),
    ({"metrics": {"metrics_collected": VOLUME}}, "monitoring", ""),
    ({"metrics": {"metrics_collected": VOLUME, "append_dimensions": {}}}, "monitoring", "ec2"),
    ({"logs": FILES}, "logs", ""),
    ({"logs": {"metrics_collected": {"emf": {}}}}, "logs", ""),
    ({"logs": {"metrics_collected": {"kubernetes": {}}}}, "logs", "ec2"),
    ({"logs": {"metrics_collected": {"application_signals": {}}}}, "logs monitoring", "ec2"),
    ({"logs": {"metrics_collected": {"prometheus": {"ecs_service_discovery": {}}}}}, "ec2 ecs logs", ""),
    ({"logs": {"metrics_collected": {"prometheus": {}}}}, "logs", "ec2"),
    ({"logs": {"metrics_collected": {"prometheus": {"cluster_name": "shop"}}}}, "logs", ""),
    ({"traces": {"traces_collected": {"xray": {}}}}, "xray", ""),
    ({"traces": {"traces_collected": {"application_signals": {}}}}, "xray", "ec2"),
    (collect("host_metrics"), "monitoring", "ec2"),
    (collect("container_insights"), "monitoring", "ec2"),
    (collect("prometheus"), "monitoring", "ec2"),
    (collect("otlp"), "logs monitoring xray", "ec2"),
    (collect("database_insights"), "logs monitoring", "ec2"),
    (collect("files"), "logs", "ec2"),
    (collect("windows_events"), "logs", "ec2"),
    ({**metrics(), "agent": {"credentials": ROLE}}, "monitoring sts", ""),
    *(({section: {"credentials": ROLE}}, "sts", "") for section in ("metrics", "logs", "traces")),
    (None, "logs monitoring", ""),
    ({"agent": None, "metrics": [], "logs": "x"}, "", ""),
]


@pytest.mark.parametrize("is_ec2", [True, False])
@pytest.mark.parametrize(("config", "everywhere", "on_ec2"), CASES)
def test_the_services_follow_from_the_configuration(config, everywhere, on_ec2, is_ec2):
    services = {"ssm", *everywhere.split(), *(on_ec2.split() if is_ec2 else [])}
    assert endpoints_of(config, REGION, is_ec2=is_ec2) == {Endpoint(service, REGION) for service in services}


OTHER = "us-east-1"
DUAL = {"use_dualstack_endpoint": True}
OVERRIDE = "vpce-1.monitoring.eu-central-1.vpce.amazonaws.com"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({**metrics(append_dimensions=GROUP), "agent": {"region": OTHER}}, [Endpoint("monitoring", OTHER)]),
        ({**metrics(), "agent": {"region": "$(reboot)"}}, [Endpoint("monitoring", REGION)]),
        (
            {"agent": {"region": "eu-west-1"}, "traces": {"traces_collected": {}, "region_override": OTHER}},
            [Endpoint("xray", OTHER)],
        ),
        ({**metrics(), "agent": DUAL}, [Endpoint("monitoring", REGION, is_dual_stack=True)]),
        ({**metrics(), "agent": {"use_dualstack_endpoint": "true"}}, [Endpoint("monitoring", REGION)]),
        (
            {**metrics(metrics_destinations={"amp": {}}), "agent": DUAL},
            [Endpoint("aps-workspaces", REGION)],
        ),
        (
            {**metrics(endpoint_override=OVERRIDE), "agent": DUAL},
            [Endpoint("monitoring", REGION, address=f"https://{OVERRIDE}")],
        ),
        (
            {"logs": {**FILES, "endpoint_override": "http://localhost:4566/x"}},
            [Endpoint("logs", REGION, address="http://localhost:4566/x")],
        ),
        (
            {"logs": {**FILES, "endpoint_override": "https://my_vpce.example.com"}},
            [Endpoint("logs", REGION, address="https://my_vpce.example.com")],
        ),
        # The agent does not call the usual address then, so it is not probed instead.
        ({"logs": {**FILES, "endpoint_override": 'a"; reboot; "'}}, []),
        ({"logs": {**FILES, "endpoint_override": "$(reboot)"}}, []),
    ],
)
def test_the_configuration_can_have_other_addresses(config, expected):
    found = endpoints_of(config, REGION, is_ec2=True)
    assert found - {Endpoint("ec2", REGION)} == {Endpoint("ssm", REGION), *expected}


@settings(max_examples=40)
@given(st.text() | st.from_regex(re.compile(r"\A(https?://)?[a-z.:/0-9\n-]*\Z")))
def test_an_address_is_never_code_of_the_shell(text):
    config = {"agent": {"region": text}, "logs": {**FILES, "endpoint_override": text}}
    for each in endpoints_of(config, REGION, is_ec2=True):
        assert re.fullmatch(r"[A-Za-z0-9:/._-]*", f"{each.region}{each.address}")


@pytest.mark.parametrize(
    ("endpoint", "address", "name"),
    [
        (Endpoint("logs", REGION), "https://logs.eu-central-1.amazonaws.com", "logs"),
        (Endpoint("xray", OTHER), "https://xray.us-east-1.amazonaws.com", "xray.us-east-1.amazonaws.com"),
        (
            Endpoint("logs", REGION, is_dual_stack=True),
            "https://logs.eu-central-1.api.aws",
            "logs.eu-central-1.api.aws",
        ),
        (Endpoint("logs", REGION, address="https://a:1/b"), "https://a:1/b", "a:1"),
    ],
)
def test_the_name_of_an_endpoint_is_its_service_or_its_host(endpoint, address, name):
    assert label(endpoint, REGION, address) == name
