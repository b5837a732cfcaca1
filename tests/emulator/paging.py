"""Pages for the IAM answers that both emulators return in one piece.

AWS returns 100 items a page unless asked for fewer, and sets IsTruncated on all pages but the last.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

PAGED = ("GetAccountAuthorizationDetails", "ListUsers")
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def page(body: bytes, params: dict[str, Any]) -> bytes:
    """Reduce the answer to the page that ``MaxItems`` and ``Marker`` ask for."""
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
