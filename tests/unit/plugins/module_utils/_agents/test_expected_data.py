from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._agents.expected_data import (
    ExpectedData,
    ExpectedLog,
    ExpectedMetric,
    Unknown,
    expected_data,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Sender
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.json_path import json_path
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import METRICS, SECTIONS

EXAMPLES = Path(__file__).parents[5] / "examples" / "agent-config"
REGION, ACCOUNT, INSTANCE = "eu-central-1", "123456789012", "i-0123456789abcdef0"
LINUX = Sender(
    "Linux",
    REGION,
    ACCOUNT,
    INSTANCE,
    hostname="web1",
    hostname_of_ec2="ip-10-0-0-1.ec2.internal",
    ip_address="10.0.0.1",
    image_id="ami-1",
    instance_type="t3.micro",
    auto_scaling_group="",
)
WINDOWS = replace(LINUX, platform="Windows")
MAC = replace(LINUX, platform="MacOS")
ON_PREMISES = Sender("Linux", REGION, ACCOUNT, hostname="db1")
STRANGER = Sender("Linux", REGION, ACCOUNT)
IN_GROUP = replace(LINUX, auto_scaling_group="web")
MAYBE_IN_GROUP = replace(LINUX, auto_scaling_group=None)
IDS = {"InstanceId": "${aws:InstanceId}"}
ALL = {key: f"${{aws:{key}}}" for key in ("AutoScalingGroupName", "ImageId", "InstanceId", "InstanceType")}
OF_EC2 = f"ImageId=ami-1 InstanceId={INSTANCE} InstanceType=t3.micro"
MEM = {"measurement": ["mem_used_percent"]}
DISK = {"measurement": ["used_percent"]}
IDLE = {"measurement": ["usage_idle"]}
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Metrics"
OTHER_ROLE = "arn:aws:iam::210987654321:role/Metrics"


def metrics(agent=None, *, section=None, **plugins):
    config = {"metrics": {**(section or {}), "metrics_collected": plugins}}
    return {"agent": agent, **config} if agent else config


def windows(agent=None, *, section=None, plugins):
    return metrics(agent, section=section, **plugins)


def located(dimensions=IDS, *, section=None, **plugins):
    """A configuration that appends dimensions of EC2."""
    return metrics(section={"append_dimensions": dimensions, **(section or {})}, **plugins)


def rolled(*dimensions, **plugins):
    """A configuration that sends its metrics again with fewer dimensions."""
    return located(ALL, section={"aggregation_dimensions": [*dimensions]}, **plugins)


def shown(metric):
    """``name key=value unknown?``, and ``~`` if not every server sends it."""
    known = [f"{key}={value}" for key, value in metric.dimensions]
    unknown = [f"{name}?" for name in metric.unknown_dimensions]
    return " ".join([metric.name, *known, *unknown, *([] if metric.is_certain else ["~"])])


def data_of(config, sender=LINUX):
    return expected_data(merge([config]), sender)


def test_a_metric_has_everything_that_a_query_needs():
    config = located(mem={**MEM, "metrics_collection_interval": 300}, section={"namespace": "Shop"})
    assert data_of(config) == ExpectedData(
        metrics=(
            ExpectedMetric(
                path=("metrics", "metrics_collected", "mem"),
                region=REGION,
                namespace="Shop",
                name="mem_used_percent",
                dimensions=(("InstanceId", INSTANCE),),
                unknown_dimensions=(),
                interval=300,
                seconds=420,
                is_own=True,
                is_certain=True,
            ),
        )
    )


@pytest.mark.parametrize(
    ("config", "sender", "expected"),
    [
        # The name of the host, and what replaces it.
        (metrics(mem=MEM), LINUX, ["mem_used_percent host=web1"]),
        (metrics(mem=MEM), ON_PREMISES, ["mem_used_percent host=db1"]),
        (metrics(mem=MEM), STRANGER, ["mem_used_percent host?"]),
        (metrics({"hostname": "shop"}, mem=MEM), LINUX, ["mem_used_percent host=shop"]),
        (metrics({"hostname": ""}, mem=MEM), LINUX, ["mem_used_percent host=web1"]),
        (metrics({"hostname": "${NAME}"}, mem=MEM), LINUX, ["mem_used_percent host?"]),
        (metrics({"omit_hostname": True}, mem=MEM), LINUX, ["mem_used_percent"]),
        (metrics({"omit_hostname": False}, mem=MEM), LINUX, ["mem_used_percent host=web1"]),
        (located(mem=MEM), LINUX, [f"mem_used_percent InstanceId={INSTANCE}"]),
        (located({}, mem=MEM), LINUX, ["mem_used_percent"]),
        (located({"InstanceId": "${!aws:InstanceId}"}, mem=MEM), LINUX, ["mem_used_percent"]),
        (located({"Id": "${aws:InstanceId}"}, mem=MEM), LINUX, ["mem_used_percent"]),
        (
            located(ALL, mem=MEM),
            IN_GROUP,
            [f"mem_used_percent AutoScalingGroupName=web ImageId=ami-1 InstanceId={INSTANCE} InstanceType=t3.micro"],
        ),
        (
            located(ALL, mem=MEM),
            LINUX,
            [f"mem_used_percent ImageId=ami-1 InstanceId={INSTANCE} InstanceType=t3.micro"],
        ),
        (
            located(ALL, mem=MEM),
            replace(STRANGER, instance_id=INSTANCE),
            [f"mem_used_percent InstanceId={INSTANCE} AutoScalingGroupName? ImageId? InstanceType?"],
        ),
        # The dimensions of a plug-in.
        (
            metrics(mem={**MEM, "append_dimensions": {"team": "shop"}}),
            LINUX,
            ["mem_used_percent host=web1 team=shop"],
        ),
        (metrics(mem={**MEM, "append_dimensions": {"host": "x"}}), LINUX, ["mem_used_percent host=x"]),
        (located(mem={**MEM, "append_dimensions": {"host": "x"}}), LINUX, [f"mem_used_percent InstanceId={INSTANCE}"]),
        (located(mem={**MEM, "append_dimensions": {"InstanceId": "x"}}), LINUX, ["mem_used_percent InstanceId=x"]),
        (located(mem={**MEM, "append_dimensions": {"InstanceId": ""}}), LINUX, ["mem_used_percent"]),
        (metrics(mem={**MEM, "append_dimensions": {"a": "", "b": 1}}), LINUX, ["mem_used_percent host=web1"]),
        (
            metrics(mem={**MEM, "append_dimensions": {"a": "y" * 1024}}),
            LINUX,
            [f"mem_used_percent a={'y' * 1024} host=web1"],
        ),
        (metrics(mem={**MEM, "append_dimensions": {"a": "$HOME"}}), LINUX, ["mem_used_percent host=web1 a?"]),
        (
            metrics(mem={**MEM, "append_dimensions": {"aws:StorageResolution": "x"}}),
            LINUX,
            ["mem_used_percent host=web1"],
        ),
        # Earlier agents sent these texts as they are, so no check can be based on them.
        (
            metrics(mem={**MEM, "append_dimensions": {"Type": "${aws:InstanceType}"}}),
            LINUX,
            ["mem_used_percent Type=t3.micro host=web1 ~"],
        ),
        (
            metrics(mem={**MEM, "append_dimensions": {"Type": "a ${aws:InstanceType}"}}),
            LINUX,
            ["mem_used_percent host=web1 ~"],
        ),
        (
            metrics(cpu={**IDLE, "append_dimensions": {"cpu": "x"}}),
            LINUX,
            ["cpu_usage_idle cpu=cpu-total host=web1"],
        ),
        # Plug-ins that report several things.
        (
            metrics(cpu={**IDLE, "resources": ["*"]}),
            LINUX,
            ["cpu_usage_idle cpu=cpu-total host=web1", "cpu_usage_idle host=web1 cpu?"],
        ),
        (metrics(cpu={**IDLE, "resources": ["*"], "totalcpu": False}), LINUX, ["cpu_usage_idle host=web1 cpu?"]),
        (metrics(cpu={**IDLE, "totalcpu": False}), LINUX, []),
        (metrics(cpu={**IDLE, "resources": ["cpu0"]}), LINUX, ["cpu_usage_idle cpu=cpu-total host=web1"]),
        (metrics(disk=DISK), LINUX, ["disk_used_percent host=web1 device? fstype? path?"]),
        (
            metrics(disk={**DISK, "resources": ["*", "/x"]}),
            LINUX,
            ["disk_used_percent host=web1 device? fstype? path?"],
        ),
        (
            metrics(disk={**DISK, "resources": ["/", "/x", "/", "$HOME"]}),
            LINUX,
            [
                "disk_used_percent host=web1 path=/ device? fstype?",
                "disk_used_percent host=web1 path=/x device? fstype? ~",
                "disk_used_percent host=web1 device? fstype? path? ~",
            ],
        ),
        *(
            (
                metrics(disk={**DISK, "ignore_file_system_types": types}),
                LINUX,
                [f"disk_used_percent host=web1 device? fstype? path?{tail}"],
            )
            for types, tail in ((["sysfs", "devtmpfs"], ""), (["sysfs", "xfs"], " ~"))
        ),
        (metrics(disk={**DISK, "drop_device": True}), LINUX, ["disk_used_percent host=web1 fstype? path?"]),
        (
            metrics(disk={**DISK, "append_dimensions": {"mode": "rw", "a": "b"}}),
            LINUX,
            ["disk_used_percent a=b host=web1 device? fstype? path?"],
        ),
        (
            located(disk={**DISK, "append_dimensions": {"VolumeId": "${aws:VolumeId}"}}),
            LINUX,
            [f"disk_used_percent InstanceId={INSTANCE} VolumeId? device? fstype? path? ~"],
        ),
        (
            metrics(disk={**DISK, "append_dimensions": {"VolumeId": "${aws:VolumeId}"}}),
            LINUX,
            ["disk_used_percent host=web1 device? fstype? path? ~"],
        ),
        (metrics(diskio={"measurement": ["reads"]}), LINUX, ["diskio_reads host=web1 name?"]),
        (
            metrics(diskio={"measurement": ["reads"], "resources": ["sda", "nvme*"]}),
            LINUX,
            ["diskio_reads host=web1 name=sda ~", "diskio_reads host=web1 name? ~"],
        ),
        (
            located(
                diskio={
                    "measurement": ["diskio_ebs_total_read_ops", "instance_store_volume_queue_length"],
                    "append_dimensions": {"team": "shop"},
                }
            ),
            LINUX,
            [
                f"diskio_ebs_total_read_ops InstanceId={INSTANCE} VolumeId? ~",
                f"diskio_instance_store_volume_queue_length InstanceId={INSTANCE} SerialId? ~",
            ],
        ),
        (metrics(diskio={"measurement": ["ebs_total_read_ops"]}), LINUX, ["diskio_ebs_total_read_ops VolumeId? ~"]),
        (
            metrics(net={"measurement": ["bytes_sent"], "resources": ["eth0"]}),
            LINUX,
            ["net_bytes_sent host=web1 interface=eth0 ~"],
        ),
        (metrics(net={"measurement": ["bytes_sent"]}), LINUX, ["net_bytes_sent host=web1 interface?"]),
        (
            metrics(
                netstat={"measurement": ["tcp_listen"]},
                swap={"measurement": ["swap_free"]},
                processes={"measurement": ["total", "wait"]},
            ),
            LINUX,
            [
                "netstat_tcp_listen host=web1",
                "swap_free host=web1",
                "processes_total host=web1",
                "processes_wait host=web1 ~",
            ],
        ),
        (
            metrics(processes={"measurement": ["total", "dead"]}),
            MAC,
            ["processes_total host=web1", "processes_dead host=web1 ~"],
        ),
        (
            metrics(nvidia_gpu={"measurement": ["nvidia_smi_power_draw"], "append_dimensions": {"uuid": "x"}}),
            LINUX,
            ["nvidia_smi_power_draw host=web1 arch? index? name? ~"],
        ),
        (
            metrics(ethtool={"metrics_include": ["queue_0_tx_cnt"]}),
            LINUX,
            ["ethtool_queue_0_tx_cnt host=web1 driver? interface? ~"],
        ),
        (
            metrics(ethtool={"metrics_include": ["x"], "append_dimensions": {"a": "${aws:ImageId}"}}),
            LINUX,
            ["ethtool_x a=ami-1 host=web1 driver? interface? ~"],
        ),
        (
            metrics(
                procstat=[
                    {"exe": "nginx", "measurement": ["pid_count", "memory_rss"]},
                    {"pid_file": "/run/x", "exe": "x", "measurement": ["pid_count"]},
                    {"pattern": "$X", "measurement": ["pid_count"], "pid_finder": "pgrep"},
                    {"pattern": "y", "measurement": ["cpu_usage"], "append_dimensions": {"user": "a", "b": "c"}},
                    {"measurement": ["pid_count"]},
                ]
            ),
            LINUX,
            [
                "procstat_lookup_pid_count exe=nginx host=web1 pid_finder=native",
                "procstat_memory_rss exe=nginx host=web1 process_name? ~",
                "procstat_lookup_pid_count host=web1 pid_finder=native pidfile=/run/x ~",
                "procstat_lookup_pid_count host=web1 pid_finder=pgrep pattern?",
                "procstat_cpu_usage b=c host=web1 pattern=y process_name? ~",
            ],
        ),
        # Names.
        (metrics(mem={"measurement": [" mem_used ", "used", {"name": "used"}]}), LINUX, ["mem_used host=web1"]),
        (
            metrics(mem={"measurement": [{"name": "used", "rename": "MemUsed", "unit": "Bytes"}]}),
            LINUX,
            ["MemUsed host=web1"],
        ),
        (metrics(mem={"measurement": ["used", {"name": "mem_used", "rename": "M"}]}), LINUX, ["M host=web1"]),
        (
            metrics(
                mem={
                    "measurement": [{"name": "used", "rename": "mem_free"}, {"name": "free", "rename": "F"}, "total"],
                }
            ),
            LINUX,
            ["F host=web1", "mem_total host=web1"],
        ),
        (
            metrics(nvidia_gpu={"measurement": [{"name": "fan_speed", "rename": "Fan"}]}),
            LINUX,
            ["Fan host=web1 arch? index? name? ~"],
        ),
        (
            metrics(procstat=[{"exe": "x", "measurement": [{"name": "pid_count", "rename": "N"}]}]),
            LINUX,
            ["procstat_lookup_pid_count exe=x host=web1 pid_finder=native"],
        ),
        # Sets of fewer dimensions.
        (
            rolled(
                ["InstanceId"], ["InstanceId", "path"], ["d"], [], ["InstanceId"], disk={**DISK, "resources": ["/"]}
            ),
            LINUX,
            [
                f"disk_used_percent {OF_EC2} path=/ device? fstype?",
                f"disk_used_percent InstanceId={INSTANCE}",
                f"disk_used_percent InstanceId={INSTANCE} path=/",
                "disk_used_percent",
            ],
        ),
        (
            rolled(["InstanceId"], disk={**DISK, "resources": ["/x", "/"]}),
            LINUX,
            [
                f"disk_used_percent {OF_EC2} path=/x device? fstype? ~",
                f"disk_used_percent InstanceId={INSTANCE}",
                f"disk_used_percent {OF_EC2} path=/ device? fstype?",
            ],
        ),
        (
            located(section={"aggregation_dimensions": [["InstanceId"], ["InstanceId", "x"]]}, mem=MEM),
            LINUX,
            [f"mem_used_percent InstanceId={INSTANCE}"],
        ),
        (
            located(
                {key: ALL[key] for key in ("AutoScalingGroupName", "InstanceId")},
                section={"aggregation_dimensions": [["InstanceId"], ["AutoScalingGroupName"]]},
                mem=MEM,
            ),
            MAYBE_IN_GROUP,
            [
                f"mem_used_percent InstanceId={INSTANCE} AutoScalingGroupName?",
                f"mem_used_percent InstanceId={INSTANCE}",
                "mem_used_percent AutoScalingGroupName? ~",
            ],
        ),
        (
            located(
                {key: ALL[key] for key in ("AutoScalingGroupName", "InstanceId")},
                section={"aggregation_dimensions": [["InstanceId"]]},
                mem={**MEM, "drop_original_metrics": ["*"]},
            ),
            MAYBE_IN_GROUP,
            [f"mem_used_percent InstanceId={INSTANCE} ~"],
        ),
        (
            metrics(section={"aggregation_dimensions": [["host"], "x"]}, cpu=IDLE),
            LINUX,
            ["cpu_usage_idle cpu=cpu-total host=web1"],
        ),
        (
            metrics(section={"aggregation_dimensions": [["host", 1]]}, cpu=IDLE),
            LINUX,
            ["cpu_usage_idle cpu=cpu-total host=web1"],
        ),
        # Metrics that are sent only with fewer dimensions.
        *(
            (
                rolled(
                    ["InstanceId"],
                    cpu={"measurement": ["cpu_usage_idle", {"name": "time_user", "rename": "T"}], **drop},
                ),
                LINUX,
                [
                    *(
                        f"{name}{whole}"
                        for name in ("cpu_usage_idle", "T")
                        for whole in (
                            f" ImageId=ami-1 InstanceId={INSTANCE} InstanceType=t3.micro cpu=cpu-total",
                            f" InstanceId={INSTANCE}",
                        )
                        if name not in dropped or whole == f" InstanceId={INSTANCE}"
                    )
                ],
            )
            for drop, dropped in (
                ({"drop_original_metrics": ["*"]}, ["cpu_usage_idle", "T"]),
                ({"drop_original_metrics": ["usage_idle"]}, ["cpu_usage_idle"]),
                ({"drop_original_metrics": ["cpu_usage_idle", 1]}, ["cpu_usage_idle"]),
                ({"drop_original_metrics": ["time_user"]}, ["T"]),
                ({"drop_original_metrics": ["cpu_time_user"]}, ["T"]),
                ({"drop_original_metrics": ["T"]}, []),
                ({}, []),
            )
        ),
        # The agent drops a renamed metric whose name is a part of the other one, and not that one.
        (
            located(
                section={"aggregation_dimensions": [[]]},
                swap={
                    "measurement": [{"name": "used", "rename": "U"}, "used_percent"],
                    "drop_original_metrics": ["used_percent"],
                },
            ),
            LINUX,
            ["U", f"swap_used_percent InstanceId={INSTANCE}", "swap_used_percent"],
        ),
        (
            metrics(cpu={"measurement": [{"name": "usage_idle", "unit": "x"}, 1], "drop_original_metrics": ["*"]}),
            LINUX,
            [],
        ),
        (metrics(mem={"drop_original_metrics": ["used"]}), LINUX, []),
        (
            located(
                section={"aggregation_dimensions": [["InstanceId"]]},
                ethtool={"metrics_include": ["a", "b"], "drop_original_metrics": ["ethtool_a", "b"]},
            ),
            LINUX,
            [
                f"ethtool_a InstanceId={INSTANCE} ~",
                f"ethtool_b InstanceId={INSTANCE} driver? interface? ~",
                f"ethtool_b InstanceId={INSTANCE} ~",
            ],
        ),
        # The counters of Windows.
        (
            windows(plugins={"Memory": {"measurement": ["% Committed Bytes In Use"], "resources": ["*"]}}),
            WINDOWS,
            ["Memory % Committed Bytes In Use host=web1 objectname=Memory"],
        ),
        (
            windows(
                plugins={
                    "Processor": {
                        "measurement": [{"name": "% Idle Time", "rename": "Idle"}, "value"],
                        "resources": ["_Total", "0", "${X}"],
                    },
                    "LogicalDisk": {"measurement": ["% Free Space"], "resources": ["*"]},
                    "Paging File": {"measurement": ["% Usage"], "resources": ["_Total"]},
                    "Server": {"measurement": ["Sessions"], "resources": []},
                },
                section={"append_dimensions": IDS},
            ),
            WINDOWS,
            [
                f"Idle InstanceId={INSTANCE} instance=_Total objectname=Processor",
                f"Idle InstanceId={INSTANCE} instance=0 objectname=Processor ~",
                f"Idle InstanceId={INSTANCE} objectname=Processor instance? ~",
                f"Processor InstanceId={INSTANCE} instance=_Total objectname=Processor",
                f"Processor InstanceId={INSTANCE} instance=0 objectname=Processor ~",
                f"Processor InstanceId={INSTANCE} objectname=Processor instance? ~",
                f"LogicalDisk % Free Space InstanceId={INSTANCE} objectname=LogicalDisk instance?",
                f"Paging File % Usage InstanceId={INSTANCE} instance=_Total objectname=Paging File ~",
            ],
        ),
        # The agent replaces no text in the dimensions of counters.
        (
            windows(
                plugins={"System": {"measurement": ["x"], "append_dimensions": {"a": "${aws:InstanceId}", "b": "c"}}}
            ),
            WINDOWS,
            ["System x b=c host=web1 objectname=System a? ~"],
        ),
        (
            windows(
                plugins={"TCPv4": {"measurement": ["a", "b"], "drop_original_metrics": ["a"]}},
                section={"append_dimensions": IDS, "aggregation_dimensions": [["InstanceId"]]},
            ),
            WINDOWS,
            [
                f"TCPv4 a InstanceId={INSTANCE}",
                f"TCPv4 b InstanceId={INSTANCE} objectname=TCPv4",
                f"TCPv4 b InstanceId={INSTANCE}",
            ],
        ),
        (
            metrics(procstat=[{"exe": "x", "measurement": ["pid_count", "procstat_cpu_usage"]}]),
            WINDOWS,
            [
                "procstat_lookup pid_count exe=x host=web1 pid_finder=native",
                "procstat cpu_usage exe=x host=web1 process_name? ~",
            ],
        ),
    ],
)
def test_the_metrics_have_the_dimensions_that_the_agent_adds(config, sender, expected):
    data = data_of(config, sender)
    assert [shown(each) for each in data.metrics] == expected
    assert data.unknown == ()


def test_the_agent_sends_the_first_30_dimensions_and_always_the_host():
    many = {f"d{number:02}": "x" for number in range(40)}
    (metric,) = data_of(metrics(mem={**MEM, "append_dimensions": many})).metrics
    assert [name for name, _value in metric.dimensions] == [*(f"d{number:02}" for number in range(29)), "host"]


@pytest.mark.parametrize(
    ("agent", "section", "plugin", "expected"),
    [
        ({}, {}, {}, (60, 180)),
        ({"metrics_collection_interval": 10}, {}, {}, (10, 130)),
        ({"metrics_collection_interval": 10}, {}, {"metrics_collection_interval": 300.0}, (300, 420)),
        ({}, {"force_flush_interval": 5}, {"metrics_collection_interval": 30}, (30, 40)),
        ({}, {"force_flush_interval": "5"}, {"metrics_collection_interval": True}, (60, 180)),
        ({"metrics_collection_interval": 0}, {}, {"metrics_collection_interval": 1.5}, (60, 180)),
    ],
)
def test_the_interval_is_that_of_the_plugin_or_of_the_agent(agent, section, plugin, expected):
    (metric,) = data_of(metrics(agent, section=section, mem={**MEM, **plugin})).metrics
    assert (metric.interval, metric.seconds) == expected


@pytest.mark.parametrize(
    ("plugins", "sender", "seconds"),
    [
        ({"cpu": IDLE}, LINUX, 240),
        ({"cpu": {"measurement": ["time_idle"]}}, LINUX, 180),
        ({"net": {"measurement": ["bytes_sent"]}}, LINUX, 240),
        ({"diskio": {"measurement": ["reads"]}}, LINUX, 240),
        ({"diskio": {"measurement": ["ebs_total_read_ops"]}}, LINUX, 240),
        ({"disk": DISK}, LINUX, 180),
        ({"Memory": {"measurement": ["Available Bytes"]}}, WINDOWS, 240),
        ({"Processor": {"measurement": ["% Idle Time"], "resources": ["*"]}}, WINDOWS, 240),
    ],
)
def test_the_first_point_of_a_difference_takes_two_collections(plugins, sender, seconds):
    assert {each.seconds for each in data_of(windows(plugins=plugins), sender).metrics} == {seconds}


@pytest.mark.parametrize(
    ("config", "sender", "expected"),
    [
        (json.loads((EXAMPLES / "linux.json").read_text()), LINUX, f"mem_used_percent InstanceId={INSTANCE}"),
        (json.loads((EXAMPLES / "linux.json").read_text()), MAYBE_IN_GROUP, f"mem_used_percent InstanceId={INSTANCE}"),
        (
            json.loads((EXAMPLES / "windows.json").read_text()),
            replace(WINDOWS, auto_scaling_group=None),
            f"Memory % Committed Bytes In Use InstanceId={INSTANCE}",
        ),
        (metrics(cpu=IDLE, mem=MEM), LINUX, "mem_used_percent host=web1"),
        (
            metrics(cpu={**IDLE, "metrics_collection_interval": 1}, mem=MEM),
            LINUX,
            "cpu_usage_idle cpu=cpu-total host=web1",
        ),
        (metrics(disk=DISK), LINUX, None),
        # All servers send the same metric.
        (metrics({"omit_hostname": True}, mem=MEM), LINUX, None),
        (metrics({"hostname": "shop"}, mem=MEM), LINUX, None),
        (located({"ImageId": "${aws:ImageId}"}, mem=MEM), LINUX, None),
        (
            metrics({"omit_hostname": True}, mem={**MEM, "append_dimensions": {"a": "web1"}}),
            LINUX,
            None,
        ),
        (metrics(mem=MEM), STRANGER, None),
        ({}, LINUX, None),
    ],
)
def test_the_probe_is_a_metric_of_this_server_alone_that_arrives_soonest(config, sender, expected):
    probe = data_of(config, sender).probe
    assert (shown(probe) if probe else None) == expected


@pytest.mark.parametrize(
    ("agent", "credentials", "expected"),
    [
        ({"region": "us-east-1"}, {}, "us-east-1"),
        ({"region": ""}, {}, REGION),
        ({"region": 1}, {}, REGION),
        ({"region": "${AWS_REGION}"}, {}, "'${AWS_REGION}' is not the name of a region"),
        ({"region": "eu-central-1\n"}, {}, r"'eu-central-1\n' is not the name of a region"),
        ({}, {"role_arn": ROLE}, REGION),
        ({}, {"role_arn": OTHER_ROLE}, "its role is in another account, 210987654321"),
        ({}, {"role_arn": "${ROLE}"}, "its role '${ROLE}' is not the ARN of a role"),
        ({}, {"role_arn": 1}, "its role 1 is not the ARN of a role"),
        ({"credentials": {"role_arn": OTHER_ROLE}}, {}, "its role is in another account, 210987654321"),
        ({"credentials": {"role_arn": OTHER_ROLE}}, {"role_arn": ROLE}, REGION),
        ({"credentials": "x"}, "x", REGION),
    ],
)
def test_metrics_and_logs_arrive_in_the_region_and_account_of_their_section(agent, credentials, expected):
    section = {"credentials": credentials}
    logs = {**section, "logs_collected": {"files": {"collect_list": [{"file_path": "/a", "log_group_name": "a"}]}}}
    data = data_of({**metrics(agent or {"debug": True}, section=section, mem=MEM), "logs": logs})
    found = [each.region for each in (*data.metrics, *data.logs)] or [each.reason for each in data.unknown]
    assert found == [expected, expected]
    assert {each.path for each in data.unknown} <= {("metrics",), ("logs",)}


WITHOUT_RESOURCES = "only the server knows whether this object has instances, which resources must list"


@pytest.mark.parametrize(
    ("config", "sender", "expected"),
    [
        (located(mem=MEM), ON_PREMISES, "$.metrics: outside EC2, the agent sends no metrics with append_dimensions"),
        (metrics(section={"namespace": "${X}"}, mem=MEM), LINUX, "$.metrics: the namespace '${X}' is not known"),
        (metrics(section={"namespace": ":x"}, mem=MEM), LINUX, "$.metrics: the namespace ':x' is not known"),
        (
            metrics(section={"namespace": "x" * 256}, mem=MEM),
            LINUX,
            f"$.metrics: the namespace '{'x' * 59}…' is not known",
        ),
        (
            metrics(mem={"measurement": ["used_procent"]}),
            LINUX,
            "$.metrics.metrics_collected.mem: 'used_procent' is not a known metric of mem",
        ),
        (
            metrics(mem={"measurement": [{"name": "used", "rename": "${X}"}]}),
            LINUX,
            "$.metrics.metrics_collected.mem: the new name of 'mem_used', '${X}', is not known",
        ),
        (
            metrics(mem={"measurement": [{"name": "used", "rename": None}]}),
            LINUX,
            "$.metrics.metrics_collected.mem: the new name of 'mem_used', null, is not known",
        ),
        (
            metrics(mem={"measurement": [{"name": "used", "rename": "Größe"}]}),
            LINUX,
            "$.metrics.metrics_collected.mem: CloudWatch accepts no metric with the name 'Größe'",
        ),
        *(
            (
                metrics(mem={**MEM, "append_dimensions": {name: value}}),
                LINUX,
                f"$.metrics.metrics_collected.mem: CloudWatch accepts no dimension {name!r} with the value {value!r}",
            )
            for name, value in ((" ", "x"), (":x", "y"), ("x", "ü"), ("x", "\t"), ("x", " "), ("ü", "x"), ("", "x"))
        ),
        (
            metrics(mem={**MEM, "append_dimensions": {"x": "y" * 1025}}),
            LINUX,
            f"$.metrics.metrics_collected.mem: CloudWatch accepts no dimension 'x' with the value '{'y' * 59}…'",
        ),
        (
            metrics({"hostname": "wéb"}, mem=MEM),
            LINUX,
            "$.metrics.metrics_collected.mem: CloudWatch accepts no dimension 'host' with the value 'wéb'",
        ),
        (
            metrics(mem=MEM),
            replace(LINUX, hostname="\x1b[31m"),
            "$.metrics.metrics_collected.mem: CloudWatch accepts no dimension 'host' with the value '\\x1b[31m'",
        ),
        (metrics(mem=MEM), WINDOWS, "$.metrics.metrics_collected.mem: only Linux servers collect this"),
        (metrics(Memory=MEM), LINUX, "$.metrics.metrics_collected.Memory: only Windows servers collect this"),
        (metrics(system=MEM), LINUX, "$.metrics.metrics_collected.system: the agent has no such plug-in"),
        (metrics(nvidia_smi=MEM), LINUX, "$.metrics.metrics_collected.nvidia_smi: the agent has no such plug-in"),
        (metrics(nvidia_gpu=MEM), WINDOWS, "$.metrics.metrics_collected.nvidia_gpu: the agent has no such plug-in"),
        (metrics(ethtool={}), LINUX, "$.metrics.metrics_collected.ethtool: the network driver chooses these metrics"),
        (
            windows(plugins={"Server": {"measurement": ["Sessions"]}}),
            WINDOWS,
            f"$.metrics.metrics_collected.Server: {WITHOUT_RESOURCES}",
        ),
        *(
            (
                metrics(**{name: {}}),
                LINUX,
                f"$.metrics.metrics_collected.{name}: {reason}",
            )
            for name, reason in (
                ("statsd", "applications choose these metrics and their dimensions"),
                ("collectd", "applications choose these metrics and their dimensions"),
                ("otlp", "applications choose these metrics and their dimensions"),
                ("jmx", "the Java applications choose these metrics and their dimensions"),
                ("efa", "only the server knows its network adapters"),
                ("prometheus", "the targets that the agent scrapes choose these metrics and their dimensions"),
            )
        ),
        (
            metrics(section={"metrics_destinations": {"amp": {"workspace_id": "ws-1"}}}, mem=MEM),
            LINUX,
            "$.metrics.metrics_destinations.amp: these metrics go to Amazon Managed Service for Prometheus",
        ),
        *(
            ({"logs": {"metrics_collected": {name: {}}}}, LINUX, f"$.logs.metrics_collected.{name}: {reason}")
            for name, reason in (
                ("emf", "applications choose these metrics and their dimensions"),
                ("structuredlog", "applications choose these metrics and their dimensions"),
                ("app_signals", "applications choose these metrics and their dimensions"),
                ("application_signals", "applications choose these metrics and their dimensions"),
                ("otlp", "applications choose these metrics and their dimensions"),
                ("ecs", "only the server knows its cluster and containers"),
                ("kubernetes", "only the server knows its cluster and containers"),
                ("prometheus", "the targets that the agent scrapes choose these metrics and their dimensions"),
            )
        ),
        (
            {"logs": {"logs_collected": {"application_signals": {}}}},
            LINUX,
            "$.logs.logs_collected.application_signals: applications choose these metrics and their dimensions",
        ),
        (
            {"traces": {"traces_collected": {"xray": {}}}},
            LINUX,
            "$.traces.traces_collected.xray: applications choose these traces",
        ),
        (
            {"opentelemetry": {"collect": {"host_metrics": {}}}},
            LINUX,
            "$.opentelemetry.collect.host_metrics: the agent sends this through OTLP, where it has no namespace",
        ),
        (
            {"agent": {"system_metrics_enabled": True}},
            LINUX,
            "$.agent.system_metrics_enabled: the agent chooses the metrics of itself",
        ),
    ],
)
def test_anything_that_cannot_be_known_has_its_reason(config, sender, expected):
    data = data_of(config, sender)
    assert [f"{json_path(each.path)}: {each.reason}" for each in data.unknown] == [expected]
    assert (data.metrics, data.logs, data.probe) == ((), (), None)


def test_metrics_that_go_to_both_destinations_arrive_in_cloudwatch():
    destinations = {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}, "cloudwatch": {}}}
    data = data_of(metrics(section=destinations, mem=MEM))
    assert [shown(each) for each in data.metrics] == ["mem_used_percent host=web1"]
    assert [each.path for each in data.unknown] == [("metrics", "metrics_destinations", "amp")]


def test_an_unknown_metric_leaves_the_others_known():
    data = data_of(metrics(mem={"measurement": ["used", "new_in_2030"]}, statsd={}))
    assert [shown(each) for each in data.metrics] == ["mem_used host=web1"]
    assert [each.path[2] for each in data.unknown] == ["mem", "statsd"]


def test_50_configurations_are_merged_into_one_namespace():
    parts = [
        metrics(section={"namespace": "Shop"}, procstat=[{"exe": f"p{number}", "measurement": ["pid_count"]}])
        for number in range(50)
    ]
    data = expected_data(merge(parts), LINUX)
    assert len({each.dimensions for each in data.metrics}) == 50
    assert {(each.namespace, each.is_own) for each in data.metrics} == {("Shop", True)}


def entry(kind="files", section=None, **values):
    defaults = {"files": {"file_path": "/var/log/app.log"}, "windows_events": {"event_name": "System"}}
    values = {**defaults.get(kind, {}), **values}
    return {"logs": {**(section or {}), "logs_collected": {kind: {"collect_list": [values]}}}}


def test_a_log_has_everything_that_a_query_needs():
    config = entry(log_group_name="app", log_stream_name="{instance_id}/app", section={"force_flush_interval": 15})
    path = ("logs", "logs_collected", "files", "collect_list", 0)
    log = ExpectedLog(
        path, "/var/log/app.log", REGION, "app", f"{INSTANCE}/app", is_prefix=False, seconds=15, is_own=True
    )
    assert data_of(config) == ExpectedData(logs=(log,))


ON_EC2_WITHOUT_FACTS = Sender("Linux", REGION, ACCOUNT, INSTANCE)
WITH_ADDRESS = Sender("Linux", REGION, ACCOUNT, hostname="web1", ip_address="10.0.0.1")


@pytest.mark.parametrize(
    ("sender", "group", "stream", "is_own"),
    [
        (ON_EC2_WITHOUT_FACTS, "app", "{instance_id}", True),
        (ON_EC2_WITHOUT_FACTS, "app", "x-{instance_id}-{date}", True),
        (ON_EC2_WITHOUT_FACTS, "app-{instance_id}", "x", True),
        (ON_EC2_WITHOUT_FACTS, "app", "x", False),
        (ON_EC2_WITHOUT_FACTS, "app", INSTANCE, False),  # another server can have the same configuration
        (ON_EC2_WITHOUT_FACTS, "app", "{hostname}", False),
        (ON_EC2_WITHOUT_FACTS, "app", "{aws_region}-{account_id}", False),
        (WITH_ADDRESS, "app", "{hostname}", True),
        (WITH_ADDRESS, "app", "{local_hostname}/x", True),
        (WITH_ADDRESS, "app", "{ip_address}", True),
        (WITH_ADDRESS, "app", "{hostname}-{date}", True),
        (WITH_ADDRESS, "app", "{hostname}{date}", False),  # the streams of web10 begin like this, too
        (WITH_ADDRESS, "app", "{date}-{hostname}", False),
        (WITH_ADDRESS, "app", "{instance_id}", False),
    ],
)
def test_a_log_stream_is_of_one_server_if_a_known_placeholder_stands_for_it(sender, group, stream, is_own):
    [log] = expected_data(entry(log_group_name=group, log_stream_name=stream), sender).logs
    assert log.is_own == is_own


@pytest.mark.parametrize(
    ("config", "sender", "expected"),
    [
        (entry(log_group_name="app"), LINUX, f"app {INSTANCE}"),
        (entry(log_group_name="app"), ON_PREMISES, "app db1"),
        (entry(log_group_name="app"), STRANGER, "app …"),
        (entry(log_group_name="app", section={"log_stream_name": "{local_hostname}"}), LINUX, "app web1"),
        (entry(log_group_name="app", log_stream_name="x", section={"log_stream_name": "y"}), LINUX, "app x"),
        *(
            (entry(log_group_name="app", log_stream_name=name), sender, f"app {expected}")
            for name, sender, expected in (
                ("{hostname}", LINUX, "ip-10-0-0-1.ec2.internal"),
                ("{hostname}", ON_PREMISES, "db1"),
                ("{hostname}", ON_EC2_WITHOUT_FACTS, "…"),
                ("a-{hostname}-b", STRANGER, "a-…"),
                ("{instance_id}", ON_PREMISES, "i-UNKNOWN"),
                ("{ip_address}", LINUX, "10.0.0.1"),
                ("{ip_address}", ON_PREMISES, "…"),
                ("{aws_region}/{account_id}", LINUX, f"{REGION}/{ACCOUNT}"),
                ("{aws_region}/{account_id}", ON_PREMISES, f"{REGION}/UNKNOWN-ACCOUNT"),
                ("{instance_id}/{date}", LINUX, f"{INSTANCE}/…"),
                ("{local_hostname}{unknown}", LINUX, "web1{unknown}"),
                ("{instance_id}-${ENV}", LINUX, f"{INSTANCE}-…"),
                # A host with a hostile name does not get a second placeholder replaced.
                ("{local_hostname}", replace(LINUX, hostname="{instance_id}"), "{instance_id}"),
            )
        ),
        (entry(), LINUX, f"/var/log/app {INSTANCE}"),
        (entry(file_path="/srv/app.log.2026-01-01"), LINUX, f"/srv/app.log {INSTANCE}"),
        (entry(file_path="/srv.d/app"), LINUX, f"/srv.d/app {INSTANCE}"),
        (entry(log_group_name="{instance_id}/{aws_region}"), LINUX, f"{INSTANCE}/{REGION} {INSTANCE}"),
        (entry(publish_multi_logs=True), LINUX, f"/var/log/app.log {INSTANCE}"),
        (entry(publish_multi_logs=True, file_path=r"C:\logs\a b.log"), WINDOWS, f"C_/logs/a_b.log {INSTANCE}"),
        (entry(publish_multi_logs=True, log_group_name="app"), LINUX, "app __var_log_app.log"),
        (
            entry(publish_multi_logs=True, log_group_name="app", log_stream_name="{instance_id}"),
            LINUX,
            f"app {INSTANCE}__var_log_app.log",
        ),
        (
            entry(publish_multi_logs=True, log_group_name="app", log_stream_name="x", file_path="/var/log/*"),
            LINUX,
            "app x_…",
        ),
        (
            entry(publish_multi_logs=True, log_group_name="app", log_stream_name="x{date}"),
            LINUX,
            "app x…",
        ),
        (entry("windows_events", log_group_name="system"), WINDOWS, f"system {INSTANCE}"),
        (entry("journald", log_group_name="journal", units=["x"]), LINUX, f"journal {INSTANCE}"),
        (entry("journald", section={"log_stream_name": "x"}), LINUX, f"journald-logs {INSTANCE}"),
        (entry("journald"), ON_PREMISES, "journald-logs db1"),
    ],
)
def test_the_names_of_groups_and_streams_are_resolved(config, sender, expected):
    data = data_of(config, sender)
    assert [f"{each.group} {each.stream}{'…' if each.is_prefix else ''}" for each in data.logs] == [expected]
    assert data.unknown == ()


@pytest.mark.parametrize(
    ("config", "sender", "reason"),
    [
        (entry(log_group_name="app-{date}"), LINUX, "only the server knows the end of the log group 'app-'"),
        (entry(log_group_name="{hostname}"), STRANGER, "only the server knows the end of the log group ''"),
        (entry(log_group_name="größe"), LINUX, "'größe' is not a valid name of a log group"),
        (entry(log_group_name="x" * 513), LINUX, f"'{'x' * 59}…' is not a valid name of a log group"),
        (entry(file_path="/var/log/*.log"), LINUX, "'/var/log/*' is not a valid name of a log group"),
        (
            entry(file_path="/var/log/*.log", publish_multi_logs=True),
            LINUX,
            "each file has its own log group, and only the server knows its files",
        ),
        *(
            (entry(log_group_name="a", log_stream_name=name), LINUX, f"{name!r} is not a valid name of a log stream")
            for name in ("a:b", "*", " ")
        ),
        (
            entry(log_group_name="a", log_stream_name="x" * 513),
            LINUX,
            f"'{'x' * 59}…' is not a valid name of a log stream",
        ),
        (
            entry("windows_events"),
            WINDOWS,
            "log_group_name is missing, and the agent has no default for it",
        ),
        (entry("windows_events", log_group_name="a"), LINUX, "only Windows servers collect this"),
        (entry("journald", log_group_name="a"), WINDOWS, "only Linux servers collect this"),
    ],
)
def test_a_log_whose_names_cannot_be_known_has_its_reason(config, sender, reason):
    data = data_of(config, sender)
    assert ([each.reason for each in data.unknown], data.logs) == ([reason], ())


def test_an_unknown_log_leaves_the_others_known():
    entries = [{"file_path": "/a", "log_group_name": name} for name in ("{date}", "a", "b")]
    data = data_of({"logs": {"logs_collected": {"files": {"collect_list": entries}}}})
    assert [each.group for each in data.logs] == ["a", "b"]
    assert [each.path[-1] for each in data.unknown] == [0]


@pytest.mark.parametrize("name", ["linux", "windows"])
def test_everything_in_our_examples_is_known(name):
    sender = replace(LINUX, platform=name.title())
    data = data_of(json.loads((EXAMPLES / f"{name}.json").read_text()), sender)
    assert data.unknown == ()
    assert data.metrics
    assert data.logs


TEXTS = st.sampled_from(
    ["", " ", "*", "/", "x", "${aws:InstanceId}", "${X}", "{date}", "mem_used", "usage_idle", "_Total", "ü", OTHER_ROLE]
)
LEAVES = TEXTS | st.integers() | st.booleans() | st.floats() | json_values()


def values_of(shape):
    """Values of a shape, and now and then others."""
    strategies = [LEAVES]
    if shape.keys or shape.others:
        members = {key: values_of(each) for key, each in shape.keys.items()}
        others = st.dictionaries(TEXTS | st.sampled_from(["Memory", "Processor"]), LEAVES, max_size=2)
        strategies += [st.fixed_dictionaries({}, optional=members), others] * 2
    if shape.items:
        strategies += [st.lists(values_of(shape.items), max_size=3)] * 4
    return st.one_of(strategies)


CONFIGS = st.fixed_dictionaries({}, optional={key: values_of(shape) for key, shape in SECTIONS.items()})
FACTS = st.none() | TEXTS | st.text(max_size=5)
SENDERS = st.builds(
    Sender,
    st.sampled_from(["Linux", "Windows", "MacOS"]),
    st.just(REGION) | TEXTS,
    st.just(ACCOUNT),
    st.just(INSTANCE) | st.just(""),
    *[FACTS] * 6,
)


@given(CONFIGS, SENDERS)
def test_any_configuration_has_expected_data(config, sender):
    data = data_of(config, sender)
    for each in data.metrics:
        names = [*(name for name, _value in each.dimensions), *each.unknown_dimensions]
        assert len(set(names)) == len(names) <= 30
        assert all(value.strip() and value.isascii() for _name, value in each.dimensions)
        assert each.name.strip()
        assert 0 < each.interval < each.seconds
    for log in data.logs:
        assert log.group
        assert log.stream or log.is_prefix
    assert all(isinstance(each, Unknown) and each.reason and not each.reason.endswith(".") for each in data.unknown)
    assert data.probe is None or (data.probe in data.metrics and data.probe.proves_agent)
    assert data == data_of(config, sender)


def test_every_known_metric_of_every_plugin_is_expected():
    for plugin, names in METRICS.items():
        if plugin != "nvidia_smi":
            values = {"exe": "x", "measurement": [*names]}
            data = data_of(metrics(**{plugin: [values] if plugin == "procstat" else values}))
            assert len({each.name for each in data.metrics}) == len(names)
            assert data.unknown == ()
