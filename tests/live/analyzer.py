"""Asks IAM Access Analyzer whether policies are valid and not too permissive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .account import LiveAccount

FAILING = frozenset({"ERROR", "SECURITY_WARNING"})
"""The types of findings that make the run fail. The others are about style, and AWS adds some from time to time."""


def problems(account: LiveAccount, policies: Mapping[str, str]) -> Iterator[str]:
    """Validate identity policies. :param policies: by name, their documents as JSON. :returns: the failing findings."""
    paginator = account.analyzer.get_paginator("validate_policy")
    for name, document in policies.items():
        pages = paginator.paginate(policyDocument=document, policyType="IDENTITY_POLICY")
        for each in (each for page in pages for each in page["findings"]):
            if each["findingType"] in FAILING:
                kind, code = each["findingType"], each["issueCode"]
                yield f"{name}: {kind} {code}: {each['findingDetails']} See {each['learnMoreLink']}"
