# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a saved access key to a module on a host, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import from_file
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._secret_delivery import SecretDelivery

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import SavedKey
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import KeySource

# The AWS options for credentials with their aliases, under their names in the lookup that reads the key.
CREDENTIALS = {
    "access_key": ("access_key", "aws_access_key_id", "aws_access_key"),
    "secret_key": ("secret_key", "aws_secret_access_key", "aws_secret_key"),
    "session_token": ("session_token", "aws_session_token"),
    "profile": ("profile", "aws_profile"),
}
LOOKUP = "cwagent.iam.saved_credentials"


class KeyDelivery(SecretDelivery):
    """An action whose module gets a saved access key in its options."""

    SECRET = "access key"  # noqa: S105  a word for messages

    def read_key(self, source: KeySource, task_vars: Mapping[str, Any], *, can_miss: bool, **aws: Any) -> str:
        """Return a saved key as the text of a credentials file; empty if there is none and it can miss.

        :param source: the user, and where the key is saved.
        :param aws: options for the calls that read it.
        :raises InvalidInput: it cannot be read.
        """
        lookup = lookup_loader.get(LOOKUP, loader=self._loader, templar=self._templar)
        try:
            [text] = lookup.run(
                [source.user],
                variables=task_vars,
                on_missing="skip" if can_miss else "error",
                **source.to_options(),
                **aws,
            )
        except AnsibleError as error:
            raise InvalidInput(str(error)) from error
        return str(text)

    def key_for_host(
        self, source: KeySource, task_vars: Mapping[str, Any], *, can_miss: bool = False, **aws: Any
    ) -> SavedKey | None:
        """Return the saved key of a user, for a module on the host; ``None`` if there is none and it can miss.

        :param source: as for ``read_key``.
        :param can_miss: whether another task creates the key, which check mode has not done.
        :raises InvalidInput: the key cannot be sent, or cannot be read.
        """
        self.enable_pipelining()
        self.check_connection()
        text = self.read_key(source, task_vars, can_miss=can_miss and self._task.check_mode, **aws)
        return from_file(text, source.credentials_profile)


def check_aws_options(given: Collection[str], definitions: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the names of the options that select credentials. The lookup itself ignores unknown names.

    :param definitions: the options of the lookup. :raises InvalidInput: the names that it cannot use.
    """
    of_task = {"_terms", "on_missing", *SOURCE_SPEC}
    known = {each for name, option in definitions.items() for each in (name, *(option.get("aliases") or ()))} - of_task
    wrong = sorted(set(given) - known)
    if wrong:
        raise InvalidInput(
            f"aws_options cannot contain {', '.join(wrong)}. It selects the credentials of the call, with profile, or "
            "with access_key, secret_key and session_token. The region and the store are options of the task."
        )
