"""Takes the picture of the report that the documentation shows: python -m report.picture docs/images/report.png"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from report import browser, documents
from report.rendering import render


def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        reports = render({"example": documents.example()}, Path(folder))
        with browser.running(Path(folder) / "profile") as page:
            page.open(reports["example"], width=1280, height=1460, prefers_color_scheme="light")
            page.screenshot(path, whole=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
