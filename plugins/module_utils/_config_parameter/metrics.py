# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of the plug-ins, and the names that are nearly one of them. Pure.

The agent's schema allows any text as a metric. The agent on Linux refuses a metric that its plug-in does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import rules
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import find_values
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import (
    Path,
    Problem,
)
from ansible_collections.cwagent.iam.plugins.module_utils._findings import WARNING
from ansible_collections.cwagent.iam.plugins.module_utils._text import misspelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CPU = ("active", "guest", "guest_nice", "idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
_TCP = (
    *("close", "close_wait", "closing", "established", "fin_wait1", "fin_wait2", "last_ack", "listen", "none"),
    *("syn_recv", "syn_sent", "time_wait"),
)
_LIMITS = (
    *("cpu_time", "file_locks", "memory_data", "memory_locked", "memory_rss", "memory_stack", "memory_vms"),
    *("nice_priority", "num_fds", "realtime_priority", "signals_pending"),
)
_NVME = (
    *(f"total_{way}_{unit}" for way in ("read", "write") for unit in ("ops", "bytes", "time")),
    *(f"{limit}performance_exceeded_{unit}" for limit in ("", "volume_") for unit in ("iops", "tp")),
    "volume_queue_length",
)
_GPU = (
    *(f"clocks_current_{each}" for each in ("graphics", "memory", "sm", "video")),
    *(f"encoder_stats_{each}" for each in ("average_fps", "average_latency", "session_count")),
    *(f"memory_{each}" for each in ("free", "total", "used")),
    *(f"utilization_{each}" for each in ("decoder", "encoder", "gpu", "memory")),
    *("fan_speed", "pcie_link_gen_current", "pcie_link_width_current", "power_draw", "temperature_gpu"),
)
# translator/translate/metrics/config/registered_metrics.go of https://github.com/aws/amazon-cloudwatch-agent, and
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-EBS-Collect.html
METRICS: Mapping[str, tuple[str, ...]] = {
    "cpu": tuple(f"{kind}_{each}" for kind in ("time", "usage") for each in _CPU),
    "disk": ("free", "inodes_free", "inodes_total", "inodes_used", "total", "used", "used_percent"),
    "diskio": (
        *("io_time", "iops_in_progress", "read_bytes", "read_time", "reads", "write_bytes", "write_time", "writes"),
        *(f"ebs_{each}" for each in _NVME),
        *(f"ebs_ec2_instance_performance_exceeded_{unit}" for unit in ("iops", "tp")),
        *(f"instance_store_{each}" for each in _NVME),
    ),
    "mem": (
        *("active", "available", "available_percent", "buffered", "cached", "free", "inactive", "total", "used"),
        "used_percent",
    ),
    "net": (
        *("bytes_recv", "bytes_sent", "packets_recv", "packets_sent"),
        *("drop_in", "drop_out", "err_in", "err_out"),
    ),
    "netstat": (*(f"tcp_{each}" for each in _TCP), "udp_socket"),
    "nvidia_gpu": _GPU,
    "nvidia_smi": _GPU,
    "processes": (
        *("blocked", "dead", "idle", "paging", "running", "sleeping", "stopped", "total", "total_threads", "wait"),
        "zombies",
    ),
    "procstat": (
        *("cpu_time", "cpu_time_soft_irq", "cpu_time_stolen", "cpu_usage"),
        *(f"cpu_time_{each}" for each in _CPU if each not in ("active", "softirq")),
        *("involuntary_context_switches", "voluntary_context_switches"),
        *(f"memory_{each}" for each in ("data", "locked", "rss", "stack", "swap", "vms")),
        *("nice_priority", "num_fds", "num_threads", "pid", "pid_count", "realtime_priority", "signals_pending"),
        *("read_bytes", "read_count", "write_bytes", "write_count"),
        *(f"rlimit_{each}_{kind}" for each in _LIMITS for kind in ("hard", "soft")),
    ),
    "swap": ("free", "used", "used_percent"),
}
_FIELDS = ("measurement.*", "measurement.*.name")


def metric_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the metrics that are nearly one of their plug-in. Newer agents can have more metrics than the table."""
    for plugin in METRICS:
        entries = f"{plugin}.*" if plugin == "procstat" else plugin
        for field in _FIELDS:
            for path, name in find_values(config, f"metrics.metrics_collected.{entries}.{field}"):
                if isinstance(name, str):
                    yield from _metric_problem(path, name, plugin)


def _metric_problem(path: Path, name: str, plugin: str) -> Iterator[Problem]:
    # The agent removes the name of the plug-in too, which for nvidia_gpu is this one.
    prefix = "nvidia_smi_" if plugin == "nvidia_gpu" else f"{plugin}_"
    metric = name.strip()
    metric = metric[len(prefix) :] if metric.startswith(prefix) else metric
    near = misspelled(metric, METRICS[plugin])
    if near:
        allowed = ", ".join(METRICS[plugin])
        yield Problem(path, rules.MISSPELLED, f"unknown metric of {plugin}", WARNING, allowed, near)
