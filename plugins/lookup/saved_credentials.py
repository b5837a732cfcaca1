# Copyright: cwagent.iam contributors (@cwagent)
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
name: saved_credentials
author: cwagent.iam contributors (@cwagent)
version_added: 1.0.0
short_description: The saved access key of an IAM user, as the text of a credentials file
description:
  - Reads the access key that P(cwagent.iam.cwagent_iam_user#module) has saved for a user, wherever that is, and gives
    it as the text of an AWS shared-credentials file.
  - It writes nothing of the key to the screen or to a log, at any verbosity. Use it in tasks with C(no_log=true) only.
  - An option that is empty is as good as none.
options:
  _terms:
    description: The names of the users.
    type: list
    elements: str
    required: true
  store:
    description:
      - Where the access key is saved. V(file) is a file C(<user name>.credentials) on the controller, V(ssm) a
        parameter of Systems Manager, V(secretsmanager) a secret of Secrets Manager.
    type: str
    choices: [file, ssm, secretsmanager]
    default: file
  directory:
    description: The folder of the files, with O(store=file).
    type: path
    default: ~/.cwagent/credentials
  prefix:
    description: What the names of parameters and secrets begin with; the name of the user follows.
    type: str
    default: /cwagent/credentials/
  section:
    description: The profile, in the file on the controller and in the text.
    type: str
    default: AmazonCloudWatchAgent
  on_missing:
    description: Whether it is an error when no access key is saved. With V(skip), the text is empty then.
    type: str
    choices: [error, skip]
    default: error
extends_documentation_fragment:
  - amazon.aws.boto3
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
seealso:
  - module: cwagent.iam.cwagent_iam_user
"""

EXAMPLES = r"""
- name: Give a program on the host the access key
  ansible.builtin.copy:
    content: "{{ lookup('cwagent.iam.saved_credentials', 'CloudWatchAgentServerUser-db1', store='ssm') }}"
    dest: /etc/program.credentials
    mode: "0600"
  no_log: true
  diff: false
"""

RETURN = r"""
_raw:
  description: For each user, the text of a credentials file.
  type: list
  elements: str
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleLookupError
from ansible_collections.amazon.aws.plugins.plugin_utils.lookup import AWSLookupBase

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import format as key_format
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.format import SavedKey


class LookupModule(AWSLookupBase):  # type: ignore[misc]  # amazon.aws comes without types
    """Reads saved access keys. amazon.aws could read the parameters, but prints them at ``-vvvv``."""

    def run(self, terms: Iterable[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """For each user, the text of a credentials file."""
        given = {key: value for key, value in kwargs.items() if value not in (None, "")}
        self.set_options(var_options=variables, direct=given)
        if self.get_option("store") != "file":
            self.require_aws_sdk()
        try:
            return [self._text(str(user)) for user in terms]
        except CwagentError as error:
            raise AnsibleLookupError(str(error)) from error

    def _text(self, user: str) -> str:
        _names.check_name("user", user)
        where, key = self._file(user) if self.get_option("store") == "file" else self._remote(user)
        if key:
            return key_format.as_file(key, self.get_option("section"))
        if self.get_option("on_missing") == "skip":
            return ""
        raise CwagentError(
            f"There is no access key of user '{user}' in {where}. Let the playbook cwagent.iam.site or the module "
            "cwagent.iam.cwagent_iam_user save one there first."
        )

    def _file(self, user: str) -> tuple[str, SavedKey | None]:
        path = Path(self.get_option("directory")) / f"{user}.credentials"
        section = self.get_option("section")
        where = f"profile {section} of {path}"
        try:
            return where, key_format.from_file(path.read_text(encoding="utf-8"), section)
        except (FileNotFoundError, UnicodeDecodeError):
            return where, None
        except OSError as error:
            raise CwagentError(f"Could not read {path}: {error.strerror}.") from error

    def _remote(self, user: str) -> tuple[str, SavedKey | None]:
        name = f"{self.get_option('prefix')}{user}"
        aws = Aws(self.client)
        if self.get_option("store") == "ssm":
            where, answer = f"parameter '{name}'", _parameter(aws, name)
        else:
            where, answer = f"secret '{name}'", _secret(aws, name)
        return where, key_format.from_json(answer) if answer else None


def _parameter(aws: Aws, name: str) -> str | None:
    description = f"read parameter '{name}'"
    answer = aws.find("ssm:GetParameter", description, "ParameterNotFound", Name=name, WithDecryption=True)
    return str(answer["Parameter"]["Value"]) if answer else None


def _secret(aws: Aws, name: str) -> str | None:
    description = f"read secret '{name}'"
    answer = aws.find("secretsmanager:GetSecretValue", description, "ResourceNotFoundException", SecretId=name)
    return str(answer.get("SecretString", "")) if answer else None
