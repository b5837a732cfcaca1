"""Reports as the role `audit` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from report.documents import Document

from ansible_collections.cwagent.iam.plugins.plugin_utils._report.audit_files import report_content


def render(documents: Mapping[str, Document], folder: Path) -> dict[str, Path]:
    """Write the reports of documents to a folder, and return their files by the same names."""
    files = {name: folder / f"{name}.html" for name in documents}
    for name, file in files.items():
        file.write_text(report_content(documents[name], "html"))
    return files
