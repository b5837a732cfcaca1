# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the parts that were stored together, in the description of each version that was written. Pure.

It has a digest of every part, including the parts that stayed as they were, so any version identifies all of them. It
has the number of its version too, because Parameter Store keeps the description when somebody else stores a value
without one.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
MAX_DESCRIPTION = 1024
_DIGEST_LENGTH = 12
_RECORD = re.compile(r"Stored by cwagent\.iam as version ([0-9]+) with the parts ([0-9a-f]+(?: [0-9a-f]+)*)")


def to_record(values: Sequence[str], number: int) -> str:
    """Return the description of a version. It is empty if there are too many parts for one.

    :param values: of all parts, in their order.
    :param number: the number of the version.
    """
    text = f"Stored by cwagent.iam as version {number} with the parts {' '.join(map(digest, values))}"
    return text if len(text) <= MAX_DESCRIPTION else ""


def recorded_parts(description: str, number: int) -> tuple[str, ...]:
    """Return the digests of the parts that were stored together; none if nothing was recorded with this version."""
    found = _RECORD.fullmatch(description)
    return tuple(found[2].split()) if found and found[1] == str(number) else ()


def to_canonical(value: str) -> str:
    """Return a text that is the same for values with the same content, whatever their spaces and the order of keys."""
    try:
        return json.dumps(json.loads(value), sort_keys=True)
    except (ValueError, RecursionError):  # an OpenTelemetry configuration, or the text of somebody else
        return value


@lru_cache(maxsize=2048)
def digest(value: str) -> str:
    """Return the digest of the content of a part."""
    return hashlib.sha256(to_canonical(value).encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
