"""The rules of the model that a set-up by the project never meets."""

from __future__ import annotations

import pytest
from awx import AwxApi


@pytest.fixture
def awx():
    api = AwxApi(["site.yml"])
    organizations = [api.add("organizations", name) for name in ("Default", "Other")]
    for organization in organizations:
        api.add("inventories", "Servers", organization=organization)
    type_ = api.add("credential_types", "Amazon Web Services", kind="cloud")
    for name in ("First", "Second"):
        api.add("credentials", name, organization=organizations[0], credential_type=type_)
    api.add_user("admin", admin_of=organizations[0])
    api.add_user("root", superuser=True)
    return api


def request(awx, method, path, body=None, user="admin"):
    return awx.request(method, f"/api/v2/{path}", body or {}, user)


def created(awx, endpoint, **body):
    status, item = request(awx, "POST", f"{endpoint}/", body)
    assert status == 201, item
    return item["id"]


@pytest.fixture
def template(awx):
    project = created(awx, "projects", name="P", organization=1, scm_type="git", scm_url="https://example.com/p.git")
    return created(awx, "job_templates", name="T", project=project, inventory=3, playbook="site.yml")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "inventories/Servers++Default/", {}, 200),
        ("GET", "inventories/Servers++Other/", {}, 404),
        ("GET", "inventories/?nam=Servers", {}, 400),
        ("GET", "inventories", {}, 404),
        ("POST", "credential_types/", {"name": "x", "kind": "cloud"}, 403),
        ("POST", "projects/", {"name": "x", "organization": 2}, 403),
        ("POST", "labels/", {"name": "x"}, 403),
        ("POST", "labels/", {"name": "", "organization": 1}, 400),
        ("POST", "inventory_sources/", {"name": "x", "inventory": 3, "source": "scm"}, 400),
        ("PATCH", "inventories/3/", {"name": 1}, 400),
    ],
)
def test_a_request_is_answered_as_by_awx(awx, method, path, body, status):
    assert request(awx, method, path, body)[0] == status
    assert awx.writes == []


def test_a_user_without_a_token_is_refused(awx):
    assert request(awx, "GET", "inventories/", user="nobody")[0] == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"playbook": "other.yml"}, "playbook"),
        ({"inventory": None}, "inventory"),
        ({"scm_branch": "next"}, "scm_branch"),
        ({"project": None}, "project"),
        ({"timeout": "3600"}, "timeout"),
    ],
)
def test_a_job_template_is_refused(awx, template, body, field):
    status, refused = request(awx, "PATCH", f"job_templates/{template}/", body)
    assert (status, [*refused]) == (400, [field])


def test_a_job_template_has_one_credential_of_a_type(awx, template):
    ids = [each["id"] for each in awx.all("credentials").values()]
    answers = [request(awx, "POST", f"job_templates/{template}/credentials/", {"id": id_}) for id_ in ids]
    assert [status for status, _ in answers] == [204, 400]


def test_a_failed_update_of_the_project_blocks_all_launches(awx, template):
    [project] = awx._of("projects")
    project["status"] = "failed"
    assert request(awx, "POST", f"job_templates/{template}/launch/")[0] == 400
    request(awx, "POST", f"projects/{project['id']}/update/")
    assert request(awx, "POST", f"job_templates/{template}/launch/")[0] == 201


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"rrule": "RRULE:FREQ=DAILY;INTERVAL=1"}, "rrule"),
        ({"rrule": "DTSTART:20260101T030000Z RRULE:FREQ=DAILY"}, "rrule"),
        ({"job_type": "check"}, "job_type"),
        ({"extra_data": {"other": 1}}, "extra_data"),
    ],
)
def test_a_schedule_is_refused(awx, template, schedule, field):
    valid = {"rrule": "DTSTART:20260101T030000Z RRULE:FREQ=DAILY;INTERVAL=1"}
    body = {"name": "S", "unified_job_template": template, **valid, **schedule}
    status, refused = request(awx, "POST", "schedules/", body)
    assert (status, [*refused]) == (400, [field])


def test_a_label_is_deleted_when_it_is_detached_from_the_last_object(awx, template):
    label = created(awx, "labels", name="L", organization=1)
    for more in ({}, {"disassociate": True}):
        assert request(awx, "POST", f"job_templates/{template}/labels/", {"id": label, **more})[0] == 204
    assert awx.all("labels") == {}
