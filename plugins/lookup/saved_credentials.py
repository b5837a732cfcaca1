# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: saved_credentials
author: cwagent.iam contributors (@cwagent)
version_added: 1.0.0
short_description: Read the saved access key of an IAM user as the text of a credentials file
description:
  - Reads the access key that P(cwagent.iam.cwagent_iam_user#module) saved for a user, from any of its stores, and
    returns it as the text of an AWS shared-credentials file.
  - The lookup itself never prints or logs the key, at any verbosity. Use it only in tasks with C(no_log=true).
  - To deliver a key to a host, use P(cwagent.iam.cwagent_credentials_file#module). Without pipelining, other modules
    such as P(ansible.builtin.copy#module) first write the key to a temporary file on the host.
  - An empty option counts as not set.
options:
  _terms:
    description: The names of the users.
    type: list
    elements: str
    required: true
  credentials_profile:
    description: The AWS profile, both in the file on the controller and in the returned text.
    type: str
    default: AmazonCloudWatchAgent
  on_missing:
    description: How to treat a user without a saved access key. V(error) fails, and V(skip) returns an empty text.
    type: str
    choices: [error, skip]
    default: error
extends_documentation_fragment:
  - cwagent.iam.saved_key
  - cwagent.iam.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
seealso:
  - module: cwagent.iam.cwagent_iam_user
  - module: cwagent.iam.cwagent_credentials_file
"""

EXAMPLES = r"""
- name: Copy the access key from a parameter to a file of the controller
  ansible.builtin.copy:
    content: >-
      {{ lookup('cwagent.iam.saved_credentials', 'CloudWatchAgentServerUser-db1', key_store='parameter_store') }}
    dest: ~/db1.credentials
    mode: "0600"
  delegate_to: localhost
  no_log: true
  diff: false
"""

RETURN = r"""
_raw:
  description: For each user, the text of a credentials file.
  type: list
  elements: str
"""

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleLookupError
from ansible_collections.amazon.aws.plugins.plugin_utils.lookup import AWSLookupBase

from ansible_collections.cwagent.iam.plugins.module_utils._ground import names
from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._keys import saved_key as key_format
from ansible_collections.cwagent.iam.plugins.module_utils._keys.store import MarkedForDeletionError
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import KEY_STORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._keys.store import Store


class LookupModule(AWSLookupBase):  # type: ignore[misc]  # amazon.aws comes without types
    """Reads saved access keys. amazon.aws could read the parameters, but prints them at ``-vvvv``."""

    def run(self, terms: Iterable[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the text of a credentials file for each user."""
        options = {key: value for key, value in kwargs.items() if value not in (None, "")}
        self.set_options(var_options=variables, direct=options)
        kind = KEY_STORES[self.get_option("key_store")]
        if kind.IN_ACCOUNT:
            self.require_aws_sdk()
        given = {name: self.get_option(name) for name in (kind.OPTION, "credentials_profile")}
        store = kind.open(given, Aws(self.client))
        try:
            return [self._text(store, str(user)) for user in terms]
        except CwagentError as error:
            raise AnsibleLookupError(str(error)) from error

    def _text(self, store: Store, user: str) -> str:
        names.check_name("user", user)
        can_miss = self.get_option("on_missing") == "skip"
        try:
            key = store.read_key(user)
        except MarkedForDeletionError:
            if not can_miss:
                raise
            key = None
        if key:
            return key_format.to_file(key, self.get_option("credentials_profile"))
        if can_miss:
            return ""
        raise CwagentError(
            f"There is no access key of user '{user}' in {store.describe(user)}. Run the playbook cwagent.iam.site or "
            "the module cwagent.iam.cwagent_iam_user first; it saves one there."
        )
