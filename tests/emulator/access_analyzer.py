"""IAM Access Analyzer's ValidatePolicy, with one check of each type of finding.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html lists AWS's checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

VALIDATE = "ValidatePolicy"


def respond(params: Mapping[str, Any], token: str) -> dict[str, Any]:
    """Answer ValidatePolicy with one finding a page. :param token: of the page."""
    found, page = list(_findings(json.loads(params["policyDocument"]))), int(token or 0)
    more = {"nextToken": str(page + 1)} if page + 1 < len(found) else {}
    return {"findings": found[page : page + 1], **more}


def _findings(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "Version" not in document:
        yield _finding("WARNING", "MISSING_VERSION", "Add the element Version.")
    for statement in document["Statement"]:
        actions, resources = (_listed(statement.get(each, [])) for each in ("Action", "Resource"))
        if not actions and "NotAction" not in statement:
            yield _finding("ERROR", "MISSING_ACTION", "Add an Action or NotAction element to the statement.")
        if len(actions) != len(set(actions)):
            yield _finding("SUGGESTION", "REDUNDANT_ACTION", "Remove the redundant action.")
        if statement["Effect"] == "Allow" and "iam:PassRole" in actions and "*" in resources:
            yield _finding("SECURITY_WARNING", "PASS_ROLE_WITH_STAR_IN_RESOURCE", "Name the roles that are passed.")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _finding(kind: str, code: str, details: str) -> dict[str, Any]:
    anchor = f"{kind}-{code}".lower().replace("_", "-")
    page = f"https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html#{anchor}"
    return {"findingType": kind, "issueCode": code, "findingDetails": details, "learnMoreLink": page, "locations": []}
