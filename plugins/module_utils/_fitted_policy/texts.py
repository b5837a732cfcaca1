# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The consequences of the texts of parameters for the fitted policies of an account. Pure.

The texts are stored or about to be stored.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import regions_of
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import ANY, PUT, Statement
from ansible_collections.cwagent.iam.plugins.module_utils._fitted_policy.model import digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import Text
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import Scope


def storing_statements(texts: Iterable[Text], all_regions: Collection[str], scope: Scope) -> list[Statement]:
    """Return what admin principals need besides: storing the parameters, whichever inventory they belong to."""
    by_name: dict[str, list[Text]] = defaultdict(list)
    for each in texts:
        by_name[each.name].append(each)
    names = [
        f"arn:{scope.partition}:ssm:{region}:{scope.account}:parameter/{name}"
        for name, same in sorted(by_name.items())
        for region in regions_of(same, all_regions) or (ANY,)
    ]
    return [Statement("storing the configuration", (PUT,), (), tuple(names))]


def not_stored(new: Iterable[Text], stored: Iterable[History]) -> frozenset[str]:
    """Return the digests of the texts that differ from the current version of their parameter."""
    current = {digest_of(each.name, each.region, each.versions[0].value or "") for each in stored if each.versions}
    return frozenset(digest_of(each.name, each.region, each.value) for each in new) - current


def storing_times(stored: Iterable[History], since: datetime) -> Mapping[str, Sequence[datetime]]:
    """Return by digest when a text was stored in its parameter. :param since: earlier times make no difference."""
    found: dict[str, list[datetime]] = defaultdict(list)
    for history in stored:
        for version in (each for each in history.versions if each.modified >= since):
            found[digest_of(history.name, history.region, version.value or "")].append(version.modified)
    return found
