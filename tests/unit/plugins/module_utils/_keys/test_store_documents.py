"""How documents in AWS hold keys and claims, on a store whose documents are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import ContentionError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import CreationRecord
from ansible_collections.cwagent.iam.plugins.module_utils._keys.store import CLAIM_SUFFIX, DocumentStore

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
SECRET = "Se/CrEt"


@dataclass(frozen=True)
class Documents(DocumentStore):
    """:param texts: by name, the text of a document, or an error. :param purposes: by name, its description."""

    NAME = "memory"
    WORDS = "a document in memory"
    KIND = NOUN = "document"
    texts: dict[str, Any] = field(default_factory=dict)
    purposes: dict[str, str] = field(default_factory=dict)

    def check(self, users: Any) -> None:
        raise NotImplementedError

    def list_documents(self, description: str) -> list[dict[str, Any]]:
        assert description == "list the access keys saved under /k/"
        return [{"Name": name, "Description": text} for name, text in self.purposes.items()]

    def _find(self, name: str, description: str) -> str | CwagentError | None:
        assert description == f"read document '{name}'"
        return self.texts.get(name)

    def _load(self, names: Sequence[str]) -> Mapping[str, str | CwagentError]:
        return {name: self.texts[name] for name in names if name in self.texts}

    def _create(self, name: str, text: str, purpose: str, description: str) -> bool:
        if name in self.texts:
            return False
        self._write(name, text, purpose, description)
        return True

    def _write(self, name: str, text: str, purpose: str, description: str) -> None:
        self.texts[name], self.purposes[name] = text, purpose

    def _delete(self, name: str) -> None:
        self.texts.pop(name, None)
        self.purposes.pop(name, None)


@pytest.fixture
def clock() -> Any:
    return SimpleNamespace(now=NOW)


@pytest.fixture
def store(clock: Any) -> Documents:
    return Documents(clock, "/k/", "eu-central-1")


def claim(store: Documents, deadline: Deadline | None = None, planned: CreationRecord | None = None) -> Any:
    return store.claim("U", planned, ["AKIAOLD"], store.aws.now, deadline or Deadline(0))


def test_a_claim_of_another_run_is_waited_for(store: Documents) -> None:
    with claim(store) as first:
        message = "Another run is creating an access key of user 'U'. Wait until it has ended"
        with pytest.raises(ContentionError, match=message), claim(store):
            pass
        waiting = Deadline(60, sleep=lambda _seconds: store.release("U", first))
        with claim(store, waiting) as second:
            store.release("U", first)
            assert store.read(["U"])["U"].record == CreationRecord(frozenset({"AKIAOLD"}), NOW, second)


def test_the_claim_of_an_interrupted_run_is_replaced_if_the_plan_knows_it(store: Documents, clock: Any) -> None:
    with claim(store) as run:
        pass
    record = CreationRecord(frozenset({"AKIAOLD"}), NOW, run)
    clock.now = LATER - timedelta(seconds=1)
    assert store.read(["U"])["U"].claimed
    clock.now = LATER
    assert not store.read(["U"])["U"].claimed
    with pytest.raises(ContentionError, match="was interrupted"), claim(store):
        pass
    with claim(store, planned=record) as second:
        store.confirm("U", second, None)
        with pytest.raises(ContentionError, match="took so long that another run began"):
            store.confirm("U", run, None)
    assert store.read(["U"])["U"].record == CreationRecord(frozenset({"AKIAOLD"}), LATER, second)


def test_a_saved_key_is_read_listed_rewritten_and_deleted(store: Documents) -> None:
    assert store.read_key("U") is None
    store.save("U", "AKIAIOSFODNN7EXAMPLE", SECRET, "AKIAOLD")
    with claim(store):
        key = store.read_key("U")
        assert key is not None
        assert (key.secret, key.region, key.replaced_key_id) == (SECRET, "eu-central-1", "AKIAOLD")
        assert store.list_users() == {"U"}
    moved = Documents(store.aws, "/k/", "us-east-1", texts=store.texts, purposes=store.purposes)
    assert (store.read(["U"])["U"].up_to_date, moved.read(["U"])["U"].up_to_date) == (True, False)
    moved.rewrite("U")
    assert moved.read(["U"])["U"].up_to_date
    store.delete("U")
    assert (store.texts, store.list_users()) == ({}, frozenset())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"a"', '{"aws_access_key_id": "AKIAONE"}'])
def test_a_text_without_a_complete_key_is_unusable(store: Documents, text: str) -> None:
    store.texts["/k/U"] = text
    found = store.read(["U", "V"])
    assert (found["U"].key_id, found["U"].is_unusable, found["V"].is_unusable) == (None, True, False)
    assert store.read_key("U") is None
    store.rewrite("U")
    assert store.texts == {"/k/U": text}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"access_key_ids": [], "at": "soon", "run": ""}'])
def test_an_unreadable_record_is_a_problem_with_a_remedy(store: Documents, text: str) -> None:
    store.texts[f"/k/U{CLAIM_SUFFIX}"] = text
    remedy = "Compare the access keys of user 'U' with document /k/U, delete those that are not in use, then delete "
    assert f"{remedy}document /k/U.pending." in str(store.read(["U"])["U"].problem)


def test_a_text_that_cannot_be_used_is_a_problem_of_its_user_only(store: Documents) -> None:
    store.texts["/k/U"] = CwagentError("It is encrypted.")
    found = store.read(["U", "V"])
    assert (found["U"].problem, found["V"].problem) == ("It is encrypted.", None)
    for work in (store.read_key, store.rewrite):
        with pytest.raises(CwagentError, match="It is encrypted"):
            work("U")
