"""Makes clients of boto3 sooner in tests, which make thousands. To make one takes longer than a call."""

from __future__ import annotations

from typing import Any

SERVICES = ("ec2", "iam", "secretsmanager", "ssm", "sts")


def share_classes() -> None:
    """Let all clients of a service have one class, and work out the names of events once. Both never differ."""
    from botocore.client import ClientCreator
    from botocore.hooks import EventAliaser

    make_class, find_alias = ClientCreator._create_client_class, EventAliaser._alias_event_name
    classes: dict[str, Any] = {}

    def share(creator: Any, service: str, model: Any) -> Any:
        if service not in classes:
            classes[service] = make_class(creator, service, model)
        return classes[service]

    aliaser = EventAliaser(None)
    ClientCreator._create_client_class = share
    EventAliaser._alias_event_name = lambda _self, name: find_alias(aliaser, name)


def make_clients() -> None:
    """Make a client of each service that the collection uses. Nothing connects to AWS."""
    import boto3

    nobody = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    for service in SERVICES:
        boto3.session.Session().client(service, region_name="us-east-1", **nobody)
