"""Puts the helpers that these tests share on the import path."""

from __future__ import annotations

import sys
from pathlib import Path

# ansible-test imports a test by its full name, and then its folder is not where Python looks.
sys.path.insert(0, str(Path(__file__).parent))
