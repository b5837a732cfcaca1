# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints that an agent calls, by its configuration. Pure.

The facts are from the translator of https://github.com/aws/amazon-cloudwatch-agent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._configuration.json_path import find_values
from .._configuration.permissions import permissions_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_REGION = re.compile(r"[a-z0-9-]+")
# An address becomes a part of a shell script.
_ADDRESS = re.compile(r"(https?://)?([A-Za-z0-9._-]+(?::[0-9]+)?(?:/[A-Za-z0-9._/-]*)?)")
_COLLECT = "opentelemetry.collect"
_SIGNALS = ("logs.metrics_collected.application_signals", "logs.metrics_collected.app_signals")
_OTLP_METRICS = tuple(
    f"{_COLLECT}.{each}" for each in ("container_insights", "database_insights", "host_metrics", "otlp", "prometheus")
)
_OTLP_LOGS = tuple(f"{_COLLECT}.{each}" for each in ("database_insights", "files", "otlp", "windows_events"))
_DISCOVERY = "logs.metrics_collected.prometheus.ecs_service_discovery"
# The agent makes the address of Prometheus itself, and reads its configuration before it knows the setting.
_WITHOUT_DUAL_STACK = frozenset({"aps-workspaces", "ssm"})


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of a service.

    :param address: another address that the configuration contains. Empty for the one that AWS publishes.
    """

    service: str
    region: str
    is_dual_stack: bool = False
    address: str = ""


@dataclass(frozen=True)
class _Use:
    """Something in a configuration that makes the agent call a service.

    :param fields: any of these makes it do so. In a name, ``*`` stands for any key or index.
    :param value: the only value that makes it do so; ``None`` for any value.
    :param override: the field with another address.
    :param region: the field with another region than the agent's. Empty for the region of the server.
    """

    service: str
    fields: tuple[str, ...]
    value: Any = None
    override: str = ""
    region: str = "agent.region"

    def applies(self, config: Mapping[str, Any]) -> bool:
        """Return whether a configuration makes the agent call the service."""
        values = [value for field in self.fields for _path, value in find_values(config, field)]
        return bool(values) if self.value is None else self.value in values


_USES = (
    _Use("monitoring", ("agent.system_metrics_enabled",), value=True),
    _Use("monitoring", (*_OTLP_METRICS, *_SIGNALS)),
    _Use("logs", ("logs.logs_collected", "logs.metrics_collected"), override="logs.endpoint_override"),
    _Use("logs", _OTLP_LOGS),
    _Use("xray", ("traces.traces_collected",), override="traces.endpoint_override", region="traces.region_override"),
    _Use("xray", (f"{_COLLECT}.otlp",)),
    _Use("aps-workspaces", ("metrics.metrics_destinations.amp",)),
    _Use("sts", tuple(f"{each}.credentials.role_arn" for each in ("agent", "metrics", "logs", "traces"))),
    _Use("ecs", (_DISCOVERY,), region=f"{_DISCOVERY}.sd_cluster_region"),
    _Use("ec2", (_DISCOVERY,), region=f"{_DISCOVERY}.sd_cluster_region"),
)
_METRICS = _Use("monitoring", ("metrics.metrics_collected",), override="metrics.endpoint_override")
# The agent asks EC2 about its own instance, wherever it sends to.
_INSTANCE = _Use("ec2", (), region="")
# The services of an agent whose configuration is unknown.
_USUAL = ("monitoring", "logs")


def endpoints_of(config: Mapping[str, Any] | None, region: str, *, is_ec2: bool) -> set[Endpoint]:
    """Return the endpoints that an agent calls.

    :param config: ``None`` if it is not known.
    :param region: the region of the server, in which its configuration is stored.
    """
    fetch = Endpoint("ssm", region)
    if config is None:
        return {fetch, *(Endpoint(service, region) for service in _USUAL)}
    uses = [each for each in _USES if each.applies(config)]
    if _METRICS.applies(config) and _has_cloudwatch(config):
        uses.append(_METRICS)
    if is_ec2 and any(each.row.is_ec2_only for each in permissions_of(config)):
        uses.append(_INSTANCE)
    found = (_endpoint(config, each, region) for each in uses)
    return {fetch, *(each for each in found if each)}


def _has_cloudwatch(config: Mapping[str, Any]) -> bool:
    """Return whether metrics go to CloudWatch, as they do if the configuration names no destination."""
    destinations = "metrics.metrics_destinations"
    return bool(find_values(config, f"{destinations}.cloudwatch") or not find_values(config, destinations))


def _endpoint(config: Mapping[str, Any], use: _Use, region: str) -> Endpoint | None:
    """Return the endpoint of a use; ``None`` if the configuration has an address that cannot be probed safely."""
    fields = (use.region, "agent.region") if use.region else ()
    regions = (each for field in fields for each in _texts(config, field) if _REGION.fullmatch(each))
    given = next(_texts(config, use.override), "")
    address = _ADDRESS.fullmatch(given)
    if given and not address:
        return None
    is_dual_stack = True in [value for _path, value in find_values(config, "agent.use_dualstack_endpoint")]
    return Endpoint(
        use.service,
        next(regions, region),
        is_dual_stack and not address and use.service not in _WITHOUT_DUAL_STACK,
        f"{address[1] or 'https://'}{address[2]}" if address else "",
    )


def _texts(config: Mapping[str, Any], field: str) -> Iterator[str]:
    return (value for _path, value in find_values(config, field) if isinstance(value, str))


def label(endpoint: Endpoint, region: str, address: str) -> str:
    """Return the name of an endpoint for a message: its service if it is the usual one, and else its host.

    The service stands before a host that could be the name of another service.

    :param region: the region of the server.
    :param address: the address of the endpoint.
    """
    if endpoint == Endpoint(endpoint.service, region):
        return endpoint.service
    host = address.split("/")[2]
    return host if is_host(host) else f"{endpoint.service}:{host}"


def is_host(name: str) -> bool:
    """Return whether the name of an endpoint contains a host."""
    return bool({".", ":"} & {*name})
