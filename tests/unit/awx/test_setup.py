"""Input that the set-up of AWX refuses before it creates anything, evaluated with the model of AWX."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from awx.project import DEFINITIONS, EVERYTHING, URL, VARIABLES, prepare_awx, read
from templates import trust_templates

[PLAY] = read("awx/setup.yml")
CREATE, DELETE = (each["block"] for each in PLAY["tasks"])
CHECK, SEARCH, CHECK_FOUND, EARLIER, *REST = CREATE
READING = ("ansible.builtin.assert", "ansible.builtin.set_fact")


def evaluate(task, condition, variables):
    """Whether a condition of a task is true, and the task's message otherwise."""
    templar = Templar(DataLoader(), variables=trust_templates({**variables, **task.get("vars", {})}))
    is_true = templar.template(trust_templates(f"{{{{ {condition} }}}}"))
    return is_true, "" if is_true else " ".join(templar.template(trust_templates(message(task))).split())


def message(task):
    return task["ansible.builtin.assert"]["fail_msg"]


def conditions(task):
    that = task["ansible.builtin.assert"]["that"]
    return that if isinstance(that, list) else [that]


def search(awx, variables):
    """The registered result of the task that searches."""
    needed = Templar(DataLoader(), variables=trust_templates(variables)).template(trust_templates("{{ __needed }}"))
    results = []
    for item in needed:
        templar = Templar(DataLoader(), variables=trust_templates({**variables, "item": item, **SEARCH["vars"]}))
        endpoint, wanted = (
            templar.template(trust_templates(f"{{{{ {name} }}}}")) for name in ("__endpoint", "__filter")
        )
        status, found = awx.request("GET", f"/api/v2/{endpoint}/?{urlencode(wanted)}", {}, "organization")
        assert status == 200
        results.append({"item": item, "ansible_facts": {"__found_ids": [each["id"] for each in found["results"]]}})
    return {"results": results}


def refusal(awx, **given):
    """The message with which the set-up fails before it creates anything; blank if it does not."""
    variables = {**VARIABLES, **DEFINITIONS, **PLAY["vars"], "awx_project_url": URL, **given}
    for task in (CHECK, CHECK_FOUND):
        for condition in conditions(task):
            if task is CHECK_FOUND:
                variables["__found"] = search(awx, variables)
            is_true, reason = evaluate(task, condition, variables)
            if not is_true:
                return reason
    return ""


def test_only_reading_tasks_come_before_the_checks():
    assert all({*READING} & task.keys() for task in (CHECK, SEARCH, CHECK_FOUND, EARLIER))
    assert [task["name"] for task in (*REST, *DELETE) if {*READING} & task.keys()] == []


def test_every_object_is_managed_with_the_chosen_collection():
    files = [(*REST, *DELETE), read("awx/credential_type.yml")[0]["tasks"]]
    actions = [task["action"] for tasks in files for task in tasks]
    assert [each for each in actions if not re.fullmatch(r"\{\{ awx_collection \}\}\.\w+", each)] == []
    assert "awx_collection" in SEARCH["ansible.builtin.set_fact"]["__found_ids"]


def test_nothing_is_refused_if_everything_exists():
    assert refusal(prepare_awx()) == refusal(prepare_awx(), **EVERYTHING) == ""


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"awx_organization": "Elsewhere"}, ["organizations/Elsewhere", "inventories/CloudWatch agent"]),
        (
            {
                "awx_inventory": "A",
                "awx_execution_environment": "B",
                "awx_credentials": {**VARIABLES["awx_credentials"], "audit": "C"},
                "awx_project_credential": "D",
                "awx_inventory_credential": "E",
                "awx_teams": {"restore": ["F"]},
                "awx_notifications": ["G"],
                "awx_instance_groups": ["H"],
            },
            [
                "inventories/A, execution_environments/B, credentials/C, credentials/D, credentials/E, teams/F,",
                "notification_templates/G, instance_groups/H. Create those that are missing, grant",
            ],
        ),
        ({"awx_project_url": ""}, ["set awx_project_url to the URL"]),
        ({"awx_teams": {"sites": ["Operations"]}}, ["name only playbooks of the project in awx_teams"]),
    ],
    ids=["organization", "everything else", "URL", "playbook"],
)
def test_what_is_missing_is_named(given, missing):
    refused = refusal(prepare_awx(), **given)
    assert refused.startswith("Nothing was changed.")
    assert "The user of the token must see each of these exactly once" in refused or "awx_" in missing[0]
    assert [each for each in missing if each not in refused] == []


def test_two_objects_of_one_name_are_refused():
    """The names of credentials are unique for each type only."""
    awx = prepare_awx()
    type_ = awx.add("credential_types", "AWS role to assume", kind="cloud")
    awx.add("credentials", "CloudWatch agent audit", organization=1, credential_type=type_)
    assert "exactly once in AWX: credentials/CloudWatch agent audit. Create" in refusal(awx)


def test_a_group_that_the_user_may_not_use_is_not_called_missing():
    awx = prepare_awx()
    [group] = [each for each in awx.objects.values() if each["endpoint"] == "instance_groups"]
    group["granted"]["use_role"].clear()
    assert "grant the user a role on them" in refusal(awx, **EVERYTHING)
