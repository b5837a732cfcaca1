from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import find_all, find_file, search_folders


def test_the_folders_are_searched_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, inventory, playbook = (tmp_path / each for each in ("start", "inventory", "playbook"))
    for folder in (start, inventory, playbook):
        folder.mkdir()
        (folder / f"{folder.name}.json").write_text("{}")
    (inventory / "playbook.json").write_text("{}")
    monkeypatch.chdir(start)
    folders = search_folders({"inventory_dir": str(inventory), "playbook_dir": str(playbook)})
    assert [find_file(folders, f"{name}.json") for name in ("start", "inventory", "playbook", "none")] == [
        *(str(start / "start.json"), str(inventory / "inventory.json"), str(inventory / "playbook.json")),
        "none.json",
    ]
    assert search_folders({"inventory_dir": None}) == [start]


def test_the_files_of_configurations_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    found = find_all([tmp_path], [{"name": "X", "file": "a.json"}, {"name": "Y", "file": "b.json"}])
    assert found == [{"name": "X", "file": str(tmp_path / "a.json")}, {"name": "Y", "file": "b.json"}]


@pytest.mark.parametrize("configs", [None, "a.json", {"file": "a.json"}, [{"name": "X"}, {"file": 1}, "a.json"]])
def test_options_of_another_form_stay(tmp_path: Path, configs: Any) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert find_all([tmp_path], configs) == configs
