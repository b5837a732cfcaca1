"""A place for access keys that is neither in AWS nor on the controller, which only this file knows."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from aws_account import Account
from declarations import declare
from import_graph import PLUGINS
from input_runs import EU, OPTIONS, US, USER, a_run, an_account, inputs_of, interpreted

from ansible_collections.cwagent.iam.plugins.lookup.saved_credentials import LookupModule
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import (
    CreationRecord,
    KeyRules,
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import SavedKey
from ansible_collections.cwagent.iam.plugins.module_utils._keys.store import Store
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import (
    CONTAINER_VARIABLES,
    KEY_STORES,
    open_places,
    open_store,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user import UserResource
from ansible_collections.cwagent.iam.plugins.module_utils._storing.lookups import Inputs, Listed, Lookups, find_unlisted

SEALED = "The vault is sealed. Unseal it."


@dataclass(frozen=True)
class VaultStore(Store):
    """One entry for each user in a vault."""

    prefix: str

    NAME = "vault"
    WORDS = "an entry of a vault"
    OPTION = "key_store_prefix"
    ENTRIES: ClassVar[dict[str, SavedKey]] = {}
    RECORDS: ClassVar[dict[str, CreationRecord]] = {}
    PROBLEMS: ClassVar[list[str]] = []

    @classmethod
    def open(cls, options: Mapping[str, Any], aws: Any = None, region: str | None = None) -> VaultStore:
        return cls(options[cls.OPTION].rstrip("/"))

    def _path(self, user: str) -> str:
        return f"{self.prefix}/{user}"

    def check(self, users: Iterable[str]) -> None:
        pass

    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        return {user: self._read(user) for user in users}

    def _read(self, user: str) -> SavedCredentials:
        key, record, where = self.read_key(user), self.RECORDS.get(user), self.describe(user)
        if not key:
            return SavedCredentials(where, record=record)
        return SavedCredentials(where, key.key_id, True, record, replaced_key_id=key.replaced_key_id)

    def read_key(self, user: str) -> SavedKey | None:
        return self.ENTRIES.get(self._path(user))

    def describe(self, user: str) -> str:
        return f"vault entry {self._path(user)}"

    def list_users(self) -> frozenset[str]:
        if self.PROBLEMS:
            raise CwagentError(self.PROBLEMS[0])
        return frozenset(path.rpartition("/")[2] for path in self.ENTRIES if path.startswith(f"{self.prefix}/"))

    @contextmanager
    def claim(
        self, user: str, planned: CreationRecord | None, existing: Iterable[str], now: datetime, deadline: Deadline
    ) -> Iterator[str]:
        self.RECORDS[user] = CreationRecord(frozenset(existing), now, "run")
        yield "run"

    def release(self, user: str, run: str) -> None:
        self.RECORDS.pop(user, None)

    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        self.ENTRIES[self._path(user)] = SavedKey(key_id, secret, None, replaced_key_id)

    def rewrite(self, user: str) -> None:
        pass

    def delete(self, user: str) -> None:
        self.ENTRIES.pop(self._path(user), None)


PLACE = {"key_store": VaultStore.NAME, "key_store_directory": None, "key_store_prefix": "/cwagent"}
VARIABLES = {"cwagent_key_store": VaultStore.NAME}


@pytest.fixture(autouse=True)
def vault(monkeypatch: pytest.MonkeyPatch) -> VaultStore:
    """The entry in the table of places, and the choice of the setting."""
    monkeypatch.setitem(KEY_STORES, VaultStore.NAME, VaultStore)
    choices = [*OPTIONS["cwagent_key_store"]["choices"], VaultStore.NAME]
    monkeypatch.setitem(OPTIONS, "cwagent_key_store", {**OPTIONS["cwagent_key_store"], "choices": choices})
    for name in ("ENTRIES", "RECORDS", "PROBLEMS"):
        monkeypatch.setattr(VaultStore, name, type(getattr(VaultStore, name))())
    for name in CONTAINER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return VaultStore(PLACE["key_store_prefix"] or "")


def test_a_user_whose_key_is_outside_aws_leaves_without_a_region():
    hosts = {"a": {"cwagent_region": EU}, "b": {"cwagent_region": US}}
    variables = {**VARIABLES, "cwagent_remove_servers": ["gone"], "cwagent_confirm": "remove_servers"}
    inputs, problems = interpreted(a_run({"onprem_servers": ["a", "b"]}, hosts, variables, requires=["removal"]))
    assert problems == []
    assert inputs["removal"]["users"] == {EU: ["gone", USER.format("gone")]}


def test_a_place_that_outlives_the_controller_is_accepted_in_a_container(vault, monkeypatch):
    monkeypatch.setenv(CONTAINER_VARIABLES[0], "1")
    options = {"key_store_allow_ephemeral": False, "credentials_profile": "p", "key_store_kms_key_id": None}
    assert open_store({**options, **PLACE}, ["U"]) == vault
    with pytest.raises(InvalidInput, match=r"Save them to 'parameter_store' or 'secrets_manager' or 'vault'"):
        open_store({**options, **PLACE, "key_store": "file", "key_store_directory": "/keys"}, ["U"])
    assert inputs_of(controller=VARIABLES, requires=["key_store"])["key_store"] == VaultStore.NAME


def test_the_policies_of_servers_do_not_read_it():
    variables = {**VARIABLES, "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore"}
    assert inputs_of({"onprem_servers": ["a"]}, {}, variables, requires=["key_store"])["server_users"]


def test_accounts_do_not_share_the_places_of_their_keys():
    inputs = inputs_of(an_account({**VARIABLES, "cwagent_key_store_prefix": "/cwagent/"}))
    assert inputs["key_store_prefix"] == "/cwagent/shop"
    in_aws = {"cwagent_key_store": "parameter_store", "cwagent_key_store_prefix": "/cwagent/"}
    assert inputs_of(an_account(in_aws))["key_store_prefix"] == "/cwagent/"


def test_a_key_is_created_replaced_and_deleted_there(vault):
    account = Account()

    def run(*, present: bool = True, **rules: Any) -> None:
        resource = UserResource(
            account.aws(), ["U"], declare(), store=vault, present=present, rules=KeyRules(**rules), hold={}
        )
        converge(resource, check_mode=False, wait=None)

    run()
    first = vault.read_key("U")
    assert first.secret == account.secrets[first.key_id]
    run()
    assert vault.read_key("U") == first
    account.now += timedelta(days=91)
    run(max_age=timedelta(days=90))
    second = vault.read_key("U")
    assert (second.replaced_key_id, vault.RECORDS) == (first.key_id, {})
    assert set(account.users["U"].keys) == {first.key_id, second.key_id}
    run(present=False)
    assert (vault.read_key("U"), account.users) == (None, {})


def test_saved_keys_that_no_host_has_are_found(vault):
    vault.save("db1", "AKIA1", "s")
    vault.save("db2", "AKIA2", "s")
    VaultStore("/other").save("db3", "AKIA3", "s")
    listed = Listed(["db1"], place=PLACE, regions=[EU, US])
    account = Account()
    assert find_unlisted(account.aws, listed, {}, ())[0] == (
        "Saved access keys of users that no host of this inventory has: db2."
    )
    VaultStore.PROBLEMS.append(SEALED)
    assert find_unlisted(account.aws, listed, {}, ()) == [
        f"It is not known whether access keys of users that no host has are saved in vault: {SEALED}"
    ]
    assert account.calls == []


def test_keys_of_another_account_are_not_deleted(vault):
    vault.save("db", "AKIA1", "s")
    inputs = Inputs({}, saved_users=["web", "db"], place=PLACE)
    with pytest.raises(InvalidInput, match=r"^vault entry /cwagent/db has the access key of user 'db', and this acc"):
        Lookups(inputs, Account().aws, check_mode=False).result()
    assert Lookups(replace(inputs, saved_users=["web"]), Account().aws, check_mode=False).result()


@pytest.mark.parametrize(
    ("changes", "regions", "names"),
    [
        ({}, [EU], ["vault"]),
        ({"key_store_prefix": None}, [EU], []),
        ({"key_store": "file", "key_store_directory": "/keys"}, [EU], ["file"]),
        ({"key_store": "file"}, [EU], []),
        *(({"key_store": name}, [EU, ""], [EU, US]) for name in ("parameter_store", "secrets_manager")),
        *(({"key_store": name}, [], []) for name in ("parameter_store", "secrets_manager")),
    ],
)
def test_the_places_of_an_inventory(changes, regions, names):
    """The playbooks give all options in every run."""
    account = Account()
    found = open_places({**PLACE, **changes}, lambda region: account.aws(region or US), regions)
    assert [*found] == names
    assert open_places({}, account.aws, regions) == {}


def test_a_lookup_reads_a_key_without_aws(vault, monkeypatch):
    vault.save("db", "AKIA1", "secret")
    monkeypatch.setattr(LookupModule, "require_aws_sdk", pytest.fail)
    monkeypatch.setattr(LookupModule, "set_options", lambda *args, **options: None)
    options = {**PLACE, "credentials_profile": "p", "on_missing": "error"}
    monkeypatch.setattr(LookupModule, "get_option", lambda self, name: options[name])
    [text] = LookupModule().run(["db"])
    assert text == "[p]\naws_access_key_id = AKIA1\naws_secret_access_key = secret\n"


def test_no_other_code_names_a_place():
    """The files that list parameters or read descriptions of documents serve the audit of an account as well."""
    kinds = {kind.__name__ for kind in KEY_STORES.values()}
    named = {
        (path.name, name)
        for path in PLUGINS.rglob("*.py")
        if path.parent.name != "_keys"
        for node in ast.walk(ast.parse(path.read_text()))
        for name in ([node.id] if isinstance(node, ast.Name) else [])
        if name in kinds
    }
    assert named == set()


def test_the_setting_has_all_places():
    del KEY_STORES[VaultStore.NAME]
    assert OPTIONS["cwagent_key_store"]["choices"][:-1] == [*KEY_STORES]
    KEY_STORES[VaultStore.NAME] = VaultStore
