"""Makes boto3 clients faster and stricter in tests, which make thousands. Making one takes longer than a call."""

from __future__ import annotations

from typing import Any

SERVICES = ("ec2", "iam", "secretsmanager", "ssm", "sts")


def share_classes() -> None:
    """Let all clients of a service have one class, one model and one set of rules for endpoints.

    These are the same for each client, and so are the names of events, which are worked out once. Handlers of events
    are not inspected, because botocore's own handlers take any arguments.
    """
    from botocore import endpoint_provider
    from botocore.client import ClientCreator
    from botocore.hooks import BaseEventHooks, EventAliaser

    make_class, find_alias = ClientCreator._create_client_class, EventAliaser._alias_event_name
    load_model, make_rules = ClientCreator._load_service_model, endpoint_provider.RuleSet
    classes: dict[str, Any] = {}
    models: dict[tuple[str, str | None], Any] = {}
    rule_sets: dict[int, tuple[Any, Any]] = {}

    def share(creator: Any, service: str, model: Any) -> Any:
        if service not in classes:
            classes[service] = make_class(creator, service, model)
        return classes[service]

    def share_model(creator: Any, service: str, version: str | None = None) -> Any:
        if (service, version) not in models:
            models[service, version] = load_model(creator, service, version)
        return models[service, version]

    def share_rules(*, rules: Any, **others: Any) -> Any:
        # The data is kept, so that no other data gets its place in memory.
        if id(rules) not in rule_sets:
            rule_sets[id(rules)] = rules, make_rules(rules=rules, **others)
        return rule_sets[id(rules)][1]

    aliaser = EventAliaser(None)
    ClientCreator._create_client_class = share
    ClientCreator._load_service_model = share_model
    EventAliaser._alias_event_name = lambda _self, name: find_alias(aliaser, name)
    BaseEventHooks._verify_accept_kwargs = lambda _self, _handler: None
    endpoint_provider.RuleSet = share_rules


def check_maximums() -> None:
    """Make clients refuse a value above a maximum in AWS's model of a service, as AWS does.

    Emulators accept such a value, and botocore checks only minimums.
    """
    from botocore import validate

    check_minimum: Any = validate.range_check
    if check_minimum.__module__ == __name__:
        return  # this was called before

    def check(name: str, value: Any, shape: Any, reason: str, errors: Any) -> None:
        check_minimum(name, value, shape, reason, errors)
        maximum = shape.metadata.get("max", value)
        if value > maximum:
            given = f"{value}, valid max: {maximum}"
            errors.report(name, reason, param=given, min_allowed=shape.metadata.get("min", 0))

    validate.range_check = check
    # The botocore of newer versions validates a member of a list only if its model has one of these.
    attributes: set[str] = getattr(validate.ParamValidator, "VALIDATED_METADATA_ATTRS", set())
    attributes.add("max")


def make_clients() -> None:
    """Make a client of each service that the collection uses. Nothing connects to AWS."""
    import boto3

    nobody = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    for service in SERVICES:
        boto3.session.Session().client(service, region_name="us-east-1", **nobody)
