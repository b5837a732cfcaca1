"""Pages for the answers of IAM and Organizations that both emulators return in one piece, and for our own.

IAM returns 100 items a page unless asked for fewer, and sets IsTruncated on all pages but the last. Organizations
returns 20, and can return an empty page before others.
"""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from .wire import ErrorAnswer

Params = dict[str, Any]

PAGED = {
    "iam": ("GetAccountAuthorizationDetails", "ListUsers"),
    "organizations": ("ListAccountsForParent", "ListOrganizationalUnitsForParent", "ListTagsForResource"),
}
ORGANIZATIONS_PAGE = 20
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def page(service: str, body: bytes, params: dict[str, Any]) -> bytes:
    """Reduce the answer to the page that the parameters ask for."""
    return _page_of_iam(body, params) if service == "iam" else _page_of_organizations(body, params)


def page_of_items(name: str, items: list[Params], params: Params, size: int) -> Params | ErrorAnswer:
    """A page of an answer of Systems Manager, which has ``size`` items unless asked for fewer."""
    token = params.get("NextToken") or "0"
    if not token.isdigit():
        return ErrorAnswer("InvalidNextToken", "")
    end = int(token) + int(params.get("MaxResults", size))
    return {name: items[int(token) : end], **({"NextToken": str(end)} if end < len(items) else {})}


def _page_of_organizations(body: bytes, params: dict[str, Any]) -> bytes:
    [(key, items)] = json.loads(body).items()
    if len(items) <= ORGANIZATIONS_PAGE:
        return body
    start = int(params.get("NextToken", -ORGANIZATIONS_PAGE))
    end = start + ORGANIZATIONS_PAGE
    more = {"NextToken": str(end)} if end < len(items) else {}
    return json.dumps({key: items[max(start, 0) : max(end, 0)], **more}).encode()


def _page_of_iam(body: bytes, params: dict[str, Any]) -> bytes:
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.fromstring(body)  # noqa: S314  the emulator's own answer
    result = root[0]
    items = [(part, item) for part in result for item in part.findall(f"{{{NAMESPACE}}}member")]
    start = int(params.get("Marker", 0))
    end = start + int(params.get("MaxItems", 100))
    for part, item in items[:start] + items[end:]:
        part.remove(item)
    truncated = result.find(f"{{{NAMESPACE}}}IsTruncated")
    if truncated is not None and end < len(items):
        truncated.text = "true"
        ElementTree.SubElement(result, f"{{{NAMESPACE}}}Marker").text = str(end)
    return ElementTree.tostring(root)
