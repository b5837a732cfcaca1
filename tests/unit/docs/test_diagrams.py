"""The diagrams are readable in both colour schemes, by people who do not see them, and every page finds its images."""

from __future__ import annotations

import re

import pytest
from guide import GUIDE, README, ROOT

IMAGES = ROOT / "docs" / "images"
DIAGRAMS = [path for path in sorted(IMAGES.glob("*.svg")) if path.name != "demo.svg"]


def classes(style):
    """By class, whether the style sets its colour."""
    return set(re.findall(r"\.([\w-]+) \{[^}]*(?:fill|stroke): #", style))


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_a_diagram_has_a_title_a_description_and_its_own_background(path):
    text = path.read_text()
    assert re.search(r"<title id=\"title\">\w.+</title>\n\s*<desc id=\"description\">\w.+\.</desc>", text)
    [(width, height)] = re.findall(r'viewBox="0 0 (\d+) (\d+)" role="img" aria-labelledby="title description"', text)
    assert re.findall(r"<rect [^>]*>", text)[0].startswith(f'<rect class="page" width="{width}" height="{height}"')


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_every_colour_has_one_for_the_dark_scheme(path):
    light, dark = path.read_text().split("@media (prefers-color-scheme: dark)")
    assert classes(light) == classes(dark)
    assert classes(light)


def test_every_image_of_a_page_exists():
    named = {
        *(name for page in GUIDE.glob("*.rst") for name in re.findall(r":: /images/(\S+)", page.read_text())),
        *re.findall(r"\(docs/images/(\S+)\)", README.read_text()),
    }
    assert named <= {path.name for path in IMAGES.iterdir()}
    assert {path.name for path in DIAGRAMS} <= named | {"access-key.svg"}
