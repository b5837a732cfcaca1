"""The variables of a role and the settings of all roles reach the options of modules by one rule."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from input_runs import inputs_of

from ansible_collections.cwagent.iam.plugins.action.cwagent_report import TASK_OPTIONS as REPORT_OPTIONS
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import (
    MODULES_OF,
    NOT_FILLED,
    NOT_SHARED,
    OF_STORING,
    PLANNED_BY,
    RENAMED,
    SETTINGS_OF_HOST,
    fill_options,
    fill_task,
    own_options,
    playbook_options,
    read_defaults,
    role_options,
    shared_options,
    shared_setting,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import OF_HOST as OF_HOSTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import CONFIGS_OF_ROLE, is_blank

try:
    from ansible.template import trust_as_template as trust
except ImportError:  # ansible-core 2.18 evaluates any text
    trust = str

ROLES = Path(__file__).parents[5] / "roles"
MODULE = re.compile(r"^ +cwagent\.iam\.(cwagent_\w+):", re.MULTILINE)
OWN = {"str": "own", "path": "/own", "int": 1, "bool": True, "list": ["own"], "dict": {"own": "y"}}
SHARED = {"str": "shared", "path": "/shared", "int": 2, "bool": False, "list": ["shared"], "dict": {"shared": "y"}}
RUN = {"str": "run", "path": "/run", "int": 3, "bool": True, "list": ["run"], "dict": {"run": "y"}}
"""By type, a value from each place."""
WITHOUT_RULE = {"cwagent_agent_config", "cwagent_inputs", "cwagent_report"}
"""The modules whose tasks name all of their options, or whose action chooses some that the rule fills."""
EU = "eu-central-1"
CALLED = {"verify": ("cwagent_agent_config", "cwagent_fitted_policy")}
"""By role, the modules that get options by the rule from the action of another one."""
BY_ACTION = {"report_files", "region", "server_policy", *REPORT_OPTIONS}
"""The variables that actions read, and the region, which has a separate rule."""


def files_of(role: str) -> str:
    """The tasks, variables and templates of a role."""
    folders = ("tasks", "vars", "templates")
    return "\n".join(path.read_text() for folder in folders for path in sorted((ROLES / role).glob(f"{folder}/*")))


FILLED = sorted(
    {(path.name, name) for path in ROLES.iterdir() for name in MODULE.findall(files_of(path.name))}
    - {(path.name, name) for path in ROLES.iterdir() for name in WITHOUT_RULE}
)
"""Each role and module to whose tasks the rule applies."""


def spec_of(module: str) -> dict[str, Any]:
    found: dict[str, Any] = import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}").SPEC
    return found


def has_parts(option: dict[str, Any]) -> bool:
    """Whether an option is a mapping with suboptions."""
    return option["type"] == "dict" and "options" in option


def options_of(module: str) -> dict[str, Any]:
    """The options of a module. A mapping with suboptions has one variable for each of them."""
    parts = [option["options"] for option in spec_of(module).values() if has_parts(option)]
    own = {name: option for name, option in spec_of(module).items() if not has_parts(option)}
    return {**{name: each for options in parts for name, each in options.items()}, **own}


def specs_of(role: str) -> dict[str, Any]:
    return role_options(ROLES / role)


def fill(role: str, module: str, variables: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, Any]:
    """The options of a task in a role, each suboption under its own name."""
    template = Templar(DataLoader(), variables=variables).template
    found = fill_options(given or {}, spec_of(module), ROLES / role, variables, template)
    parts = {name for name, option in spec_of(module).items() if has_parts(option)}
    of_parts = {name: each for option in parts & found.keys() for name, each in found[option].items()}
    return {**of_parts, **{name: value for name, value in found.items() if name not in parts}}


def own_variables(role: str, module: str) -> dict[str, str]:
    """By option of a module, the variable of the role."""
    return {
        name: f"{role}_{name}"
        for name in options_of(module)
        if f"{role}_{name}" in specs_of(role) and name not in NOT_FILLED
    }


def value_for(option: dict[str, Any], kinds: dict[str, Any]) -> Any:
    """A value from one place for an option, which is one of its choices if it has any."""
    if option["type"] == "list" and option.get("options"):
        return [{"name": kinds["str"], "file": kinds["path"]}]
    return option["choices"][-1] if option.get("choices") else kinds[option["type"]]


def values(options: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    """A value from one place for each option."""
    return {name: value_for(option, kinds) for name, option in options.items()}


def test_the_rule_applies_in_all_roles() -> None:
    assert {role for role, _module in FILLED} == {path.name for path in ROLES.iterdir()}


@pytest.mark.parametrize(("role", "module"), FILLED)
class TestPlaces:
    """Each place outranks the next one, for every option."""

    def settings(self, role: str, module: str) -> dict[str, str]:
        """By option, the setting that all roles share."""
        found = {name: shared_setting(role, variable) for name, variable in own_variables(role, module).items()}
        return {name: setting for name, setting in found.items() if setting}

    def test_the_default_of_the_role_counts_last(self, role: str, module: str) -> None:
        found = fill(role, module, {})
        own, variables = own_options(ROLES / role), own_variables(role, module)
        defaults = {name: own.get(variable, {}).get("default") for name, variable in variables.items()}
        for name, default in defaults.items():
            is_nothing = is_blank(default) or (default in ([], {}) and options_of(module)[name].get("default") is None)
            assert found.pop(name, None) == (None if is_nothing else default)
        assert found == {}

    def test_a_setting_outranks_the_default(self, role: str, module: str) -> None:
        settings, options = self.settings(role, module), options_of(module)
        for name, setting in settings.items():
            value = value_for(playbook_options()[setting], SHARED)
            assert fill(role, module, {setting: value})[name] == value, setting
            assert options[name]["type"] in {playbook_options()[setting]["type"], "path"}

    def test_a_variable_of_the_role_outranks_the_setting(self, role: str, module: str) -> None:
        settings, options = self.settings(role, module), options_of(module)
        for name, variable in own_variables(role, module).items():
            own = value_for(options[name], OWN)
            shared = {settings[name]: SHARED[playbook_options()[settings[name]]["type"]]} if name in settings else {}
            assert fill(role, module, {variable: own, **shared})[name] == own, variable

    def test_the_task_outranks_them_all(self, role: str, module: str) -> None:
        variables = own_variables(role, module)
        given = {name: value for name, value in values(spec_of(module), RUN).items() if name in variables}
        own = values({variables[name]: spec_of(module)[name] for name in given}, OWN)
        found = fill(role, module, own, given)
        assert {name: found[name] for name in given} == given
        assert not fill(role, module, own, dict.fromkeys(given)).keys() & given.keys()

    @pytest.mark.parametrize("blank", [None, "", "  "])
    def test_a_blank_value_does_not_count(self, role: str, module: str, blank: str | None) -> None:
        names = [*own_variables(role, module).values(), *self.settings(role, module).values()]
        assert fill(role, module, dict.fromkeys(names, blank)) == fill(role, module, {})

    def test_in_a_playbook_of_ours_the_validated_settings_count(self, role: str, module: str) -> None:
        settings = self.settings(role, module)
        inputs = inputs_of() | {
            setting.removeprefix("cwagent_"): RUN[playbook_options()[setting]["type"]] for setting in settings.values()
        }
        inventory = {setting: SHARED[playbook_options()[setting]["type"]] for setting in settings.values()}
        hostvars = {inputs["storing_host"]: {}}
        found = fill(role, module, {"__cwagent_run": {}, "__cwagent": inputs, "hostvars": hostvars, **inventory})
        assert {name: found[name] for name in settings if f"{role}_{name}" not in OF_STORING} == {
            name: inventory[setting] if setting in SETTINGS_OF_HOST else inputs[setting.removeprefix("cwagent_")]
            for name, setting in settings.items()
            if f"{role}_{name}" not in OF_STORING
        }


def an_action(role: str) -> Any:
    """An action whose task belongs to a role, or to none."""
    task = SimpleNamespace(action="cwagent.iam.cwagent_iam_role", args={"name": "R"})
    task._role = SimpleNamespace(get_name=lambda: role) if role else None
    return SimpleNamespace(_task=task, _templar=SimpleNamespace(template=lambda value: value))


@pytest.mark.parametrize("role", ["", "web", "other.iam.ec2_server", "cwagent.iam.ec2_server"])
def test_only_a_task_of_our_roles_takes_variables(role: str) -> None:
    """Whatever a variable says, because a managed server chooses facts."""
    action = an_action(role)
    variables = {
        "cwagent_exclusive": True,
        "ec2_server_adopt_existing": True,
        "inventory_hostname": "web1",
        "ansible_role_name": "cwagent.iam.ec2_server",
        "role_path": str(ROLES / "ec2_server"),
    }
    fill_task(action, variables)
    taken = (action._task.args.get("exclusive"), action._task.args.get("adopt_existing"))
    assert taken == ((True, True) if role.startswith("cwagent.iam.") else (None, None))
    assert action._task.args["name"] == "R"


@pytest.mark.parametrize(
    "name",
    [
        "ec2_server_exclusive",
        "ec2_server_region",
        "__cwagent_role_call",
        "cwagent_exclusive",
        "instance_id",
        "placement",
    ],
)
def test_a_fact_sets_no_option(name: str) -> None:
    facts = {"inventory_hostname": "web1", "ansible_facts": {name: "x"}, name: "x"}
    with pytest.raises(InvalidInput, match=f"Host web1: its facts set {name}"):
        fill_task(an_action("cwagent.iam.ec2_server"), facts)
    action = an_action("")
    fill_task(action, facts)
    assert action._task.args == {"name": "R"}


@pytest.mark.parametrize("attribute", ["owner", "group"])
@pytest.mark.parametrize(("value", "found"), [("agent", "agent"), (1001, "1001"), ("", None)])
def test_the_file_with_the_key_belongs_to_whom_the_host_says(attribute: str, value: Any, found: str | None) -> None:
    run = inputs_of({"onprem_servers": ["db"]})
    variables = {"__cwagent_run": {}, "__cwagent": run, f"cwagent_key_file_{attribute}": value}
    assert fill("onprem_credentials", "cwagent_credentials_file", variables).get(attribute) == found


STORING: dict[str, Any] = {
    "cwagent_store_config_from": "onprem",
    "cwagent_config_file": "/agent.json",
}
"""The variables of a run in which the host db stores."""


def storing_options(state: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The options of a task of the role store_config."""
    action = an_action("cwagent.iam.store_config")
    action._task.action, action._task.args = "cwagent.iam.cwagent_store_config", {"state": state}
    fill_task(action, {"inventory_hostname": "localhost", **variables})
    found: dict[str, Any] = action._task.args
    return found


def test_in_a_playbook_of_ours_the_run_decides_what_belongs_to_the_hosts() -> None:
    hosts = {"db": {"cwagent_region": "eu-west-3", "cwagent_admin_user_name": "Chief"}}
    run = inputs_of({"onprem_admin": ["db"], "onprem_servers": ["db"]}, hosts=hosts, controller=STORING)
    hostvars = {"db": {"cwagent_environment": {"HTTPS_PROXY": "http://proxy"}}}
    inventory = dict.fromkeys(OF_STORING, "of the inventory")
    variables = {"__cwagent_run": {}, "__cwagent": run, "hostvars": hostvars, **inventory}
    found = storing_options("stored", variables)
    assert {name: found.get(name.removeprefix("store_config_")) for name in OF_STORING} == {
        "store_config_account_id": None,
        "store_config_admin_user_name": "Chief",
        "store_config_environment": {"HTTPS_PROXY": "http://proxy"},
        "store_config_has_onprem": True,
        "store_config_instance_id": None,
        "store_config_region": "eu-west-3",
        "store_config_regions": ["eu-west-3"],
    }
    run = {**run, "account": {**run["account"], "id": "123456789012"}, "instance_id": "i-1", "onprem_hosts": {}}
    found = storing_options("stored", {**variables, "__cwagent": run})
    assert (found["account_id"], found["instance_id"], found["has_onprem"]) == ("123456789012", "i-1", False)


def test_a_task_gets_the_results_of_earlier_tasks() -> None:
    compared = {"compared": [], "source": "controller", "earlier_identity": {}}
    [names] = PLANNED_BY.values()
    results = {name: {"changed": True, "of": name} for name in names[1:]}
    variables = {"__store_config_compared": compared, **results}
    assert "compared" not in storing_options("stored", {})
    alone = storing_options("stored", variables)
    assert (alone["compared"], alone.get("planned")) == (compared, None)
    run = {"__cwagent_run": {}, "__cwagent": inputs_of({"ec2_servers": ["web"]}), "hostvars": {"localhost": {}}}
    found = storing_options("stored", {**variables, **run})
    assert (found["compared"], found["planned"]) == (compared, list(results.values()))


def test_templates_keep_their_type() -> None:
    for name in ("ec2_server_tags", "cwagent_tags"):
        variables = {name: trust("{{ more }}"), "more": {"a": 1}}
        assert fill("ec2_server", "cwagent_iam_role", variables)["tags"] == {"a": 1}


CALL = {"role": "ec2_server", "by_region": {"eu-west-3": ["i-1"]}, "region": "eu-west-3"}
OF_RUN = inputs_of() | {"region": "eu-central-1"}


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "eu-west-1"),
        ({"ec2_server_region": ""}, "eu-west-1"),
        ({"cwagent_region": "eu-west-3"}, "eu-west-1"),
        ({"ec2_server_region": "eu-west-3"}, "eu-west-3"),
        ({"ec2_server_region": "eu-west-3", "__cwagent_role_call": {**CALL, "region": ""}}, "eu-west-1"),
        ({"ec2_server_region": "", "__cwagent_role_call": {**CALL, "region": "us-east-1"}}, "us-east-1"),
        ({"__cwagent_role_call": {**CALL, "role": "ec2_admin"}}, "eu-west-1"),
        ({"ec2_server_region": "eu-west-3", "__cwagent_run": {}, "__cwagent": OF_RUN}, "eu-central-1"),
    ],
)
def test_the_region_of_a_role_outranks_defaults_of_the_play(variables: dict[str, Any], region: str) -> None:
    """A session of an account has a default region, and the instances have their own."""
    assert fill("ec2_server", "cwagent_iam_role", variables, {"region": "eu-west-1"})["region"] == region


@pytest.mark.parametrize(
    ("role", "module", "values"),
    [
        ("ec2_server", "cwagent_instance_profile", {"instances": {EU: ["i-1"]}}),
        ("ec2_server", "cwagent_application_roles", {"instances": {EU: ["i-1"]}}),
        ("ec2_admin", "cwagent_instance_profile", {"instances": {EU: ["i-1"]}}),
        ("onprem_server", "cwagent_iam_user", {"users_by_region": {EU: ["i-1"]}}),
        ("onprem_admin", "cwagent_iam_user", {"users_by_region": {EU: ["i-1"]}}),
        ("hybrid_server", "cwagent_iam_role", {"trust_regions": [EU]}),
    ],
)
def test_the_hosts_of_an_account_outrank_defaults_of_the_play(role: str, module: str, values: Any) -> None:
    """Outside our playbooks, the role has collected them, and in our playbooks, they are in the run."""
    [option] = values
    given, items = {option: "of the play"}, {EU: ["i-1"]}
    run = inputs_of() | {OF_HOSTS[role].of_run: values[option], "region": EU}
    call = {"role": role, "by_region": items, "region": EU}
    expected = {**values, "region": EU}.items()
    assert fill(role, module, {"__cwagent_role_call": call}, given).items() >= expected
    assert (
        fill(role, module, {"__cwagent_run": {}, "__cwagent": run, "__cwagent_role_call": {}}, given).items()
        >= expected
    )
    other = {"__cwagent_role_call": {**call, "role": "verify"}}
    assert fill(role, module, other, given)[option] == "of the play"


NAMES = ["CloudWatchAgentFittedServerPolicy"], ["CloudWatchAgentFittedAdminPolicy"]
RESULT = {"server_policies": ["arn:fitted", "arn:fitted-2"], "admin_policies": ["arn:admin"]}


@pytest.mark.parametrize(
    ("role", "module", "given"),
    [
        ("ec2_server", "cwagent_iam_role", {"access": "server"}),
        ("ec2_server", "cwagent_instance_profile", {}),
        ("ec2_admin", "cwagent_iam_role", {"access": "admin"}),
        ("onprem_server", "cwagent_iam_user", {"access": "server"}),
        ("onprem_admin", "cwagent_iam_user", {"access": "admin"}),
        ("hybrid_server", "cwagent_iam_role", {"access": "server"}),
    ],
)
@pytest.mark.parametrize(
    ("policy", "registered", "found"),
    [
        ("aws", {}, ([], [])),
        ("aws", {"__store_config_fitted": {"skipped": True}}, ([], [])),
        ("fitted", {}, NAMES),
        ("fitted", {"__store_config_fitted": RESULT}, [*RESULT.values()]),
    ],
)
def test_principals_get_the_policies_of_the_run_or_by_their_names(
    role: str, module: str, given: Any, policy: str, *, registered: Any, found: Any
) -> None:
    variables = {"__cwagent_run": {}, "__cwagent": inputs_of(controller={"cwagent_server_policy": policy})}
    value = fill(role, module, variables | registered, given)["access_policies"]
    assert value == found[0] + (found[1] if given.get("access") == "admin" else [])


@pytest.mark.parametrize("role", ["onprem_server", "onprem_admin"])
@pytest.mark.parametrize("requires", [["key_store", "rotation"], ["key_store"]])
def test_only_a_rotation_replaces_keys(role: str, requires: list[str]) -> None:
    options = {"key_max_age_days": 9, "key_delete_after_days": 3, "revoke_old": True, "rotate_now": True}
    run = inputs_of() | {"requires": requires, **options}
    found = fill(role, "cwagent_iam_user", {"__cwagent_run": {}, "__cwagent": run})
    defaults = fill(role, "cwagent_iam_user", {})
    of_rotation = "rotation" in requires
    assert {name: found.get(name) for name in options} == {
        name: value if of_rotation else defaults.get(name) for name, value in options.items()
    }


def test_a_run_that_removes_servers_deletes_only_their_users() -> None:
    run = inputs_of() | {"requires": ["removal"], "server_users": {EU: ["stays"]}}
    variables = {"__cwagent_run": {}, "__cwagent": run, "onprem_server_state": "absent"}
    leaving = {"__cwagent_leaving": {"users_to_delete": {EU: ["leaves"]}}}
    found = fill("onprem_server", "cwagent_iam_user", variables | leaving)
    assert (found["users_by_region"], found["state"]) == ({EU: ["leaves"]}, "absent")
    with pytest.raises(KeyError):
        fill("onprem_server", "cwagent_iam_user", variables)


@pytest.mark.parametrize(
    ("path", "variables", "is_filled"),
    [
        (ROLES.parent / "playbooks/tasks/begin.yml:3", {"__cwagent_run": {}}, True),
        (ROLES.parent / "playbooks/site.yml:3", {"__cwagent_run": {}}, True),
        (ROLES.parent / "playbooks/site.yml:3", {}, False),
        # In a playbook of somebody else, where a fact can have any name.
        (ROLES.parent / "examples/site.yml:3", {"__cwagent_run": {}}, False),
        ("/playbooks/site.yml:3", {"__cwagent_run": {}}, False),
        ("", {"__cwagent_run": {}}, False),
    ],
)
def test_a_task_of_our_playbooks_takes_settings_of_the_run(path: Any, variables: Any, is_filled: bool) -> None:
    run = inputs_of() | {"region": EU, "wait_timeout": 7}
    action = an_action("")
    action._task.get_path = lambda: str(path)
    fill_task(action, {**variables, "__cwagent": run})
    assert action._task.args == {"name": "R", **({"region": EU, "wait_timeout": 7} if is_filled else {})}
    action._task.args = {"region": "eu-west-3", "wait_timeout": None}
    fill_task(action, {**variables, "__cwagent": run})
    assert action._task.args == {"region": "eu-west-3", "wait_timeout": None}


@pytest.mark.parametrize(
    ("setting", "text", "module", "value"),
    [
        ("cwagent_wait_timeout", "30", "cwagent_iam_role", {"wait_timeout": 30}),
        ("cwagent_exclusive", "yes", "cwagent_iam_role", {"exclusive": True}),
        ("cwagent_attach_to_roles", "a, b", "cwagent_instance_profile", {"attach_to_roles": ["a", "b"]}),
        ("cwagent_tags", "{a: b}", "cwagent_iam_role", {"tags": {"a": "b"}}),
    ],
)
def test_a_setting_can_be_text(setting: str, text: str, module: str, value: dict[str, Any]) -> None:
    """From a survey or the command line."""
    assert fill("ec2_server", module, {setting: text}).items() >= value.items()


def test_a_setting_of_another_type_is_an_error_that_names_it() -> None:
    with pytest.raises(InvalidInput, match="cwagent_wait_timeout must be a whole number, not 'soon'"):
        fill("ec2_server", "cwagent_iam_role", {"cwagent_wait_timeout": "soon"})


def test_a_variable_that_the_role_does_not_have_gives_no_option() -> None:
    variables = {
        "ec2_server_trust": "x",
        "ec2_server_trust_regions": ["x"],
        "cwagent_state": "absent",
        "cwagent_name": "x",
    }
    assert fill("ec2_server", "cwagent_iam_role", variables) == fill("ec2_server", "cwagent_iam_role", {})


def test_what_a_run_must_choose_for_itself_takes_no_setting() -> None:
    """A setting for all roles must not delete a principal, replace a key, or choose credentials."""
    options = {"state", "name", "role", "user", "path", "access", "instances", "profile", "access_key", "secret_key"}
    taken = {
        name
        for role in ROLES.iterdir()
        for variable in specs_of(role.name)
        if (name := variable.removeprefix(f"{role.name}_")) in options and shared_setting(role.name, variable)
    }
    assert taken == {"name"}
    names = {variable for variable in RENAMED if variable.endswith("_name")}
    assert names == {"ec2_server_name", "ec2_admin_name", "hybrid_server_name"}
    assert {"onprem_server_rotate_now", "onprem_admin_revoke_old", "hybrid_server_ssm_policy"} <= NOT_SHARED
    assert shared_setting("audit", "audit_key_max_age_days") == "cwagent_key_max_age_days"


def test_the_tables_of_exceptions_have_no_row_too_many() -> None:
    variables = {variable for role in ROLES.iterdir() for variable in specs_of(role.name)}
    options = {variable.removeprefix(f"{role.name}_") for role in ROLES.iterdir() for variable in specs_of(role.name)}
    assert {*RENAMED} <= variables | options
    assert {f"cwagent_{name}" for name in RENAMED.values()} <= playbook_options().keys()
    reached = {
        f"{role}_{name}" for role, modules in MODULES_OF.items() for module in modules for name in options_of(module)
    }
    with_setting = {name for name in NOT_SHARED if any(name.endswith(each[7:]) for each in playbook_options())}
    assert with_setting == NOT_SHARED <= variables | reached


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_every_variable_of_a_role_is_used(role: str) -> None:
    """By its name, or because a module has that option."""
    text = files_of(role)
    called = [*FILLED, *((role, module) for module in CALLED.get(role, ()))]
    by_name = {name for each, module in called if each == role for name in own_variables(role, module)}
    of_hosts = OF_HOSTS[role].of_hosts if role in OF_HOSTS else ()
    unused = {
        name
        for name in own_options(ROLES / role)
        if name.removeprefix(f"{role}_") not in {*by_name, *BY_ACTION, *of_hosts}
        and not re.search(rf"\b{name}\b", text)
    }
    assert unused == set()


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_a_variable_that_yaml_reads_takes_its_setting_too(role: str) -> None:
    """The rule reaches modules only, so its default in the role is a template."""
    text = files_of(role)
    defaults = read_defaults(ROLES / role)
    for name, option in specs_of(role).items():
        if (setting := shared_setting(role, name)) and re.search(rf"(?<![.\w]){name}\b", text):
            assert setting in defaults.get(name, "") or (setting in text and "default" not in option)
        elif setting:
            assert name not in defaults  # it would outrank the setting


@pytest.mark.parametrize(("role", "module"), [(role, each) for role in sorted(MODULES_OF) for each in MODULES_OF[role]])
class TestUnlisted:
    """The variables that a role need not list, because the documentation of a setting is true for its module."""

    def options(self, role: str, module: str) -> dict[str, Any]:
        """By variable of the role that has a setting, the option of the module."""
        named = {f"{role}_{name}": option for name, option in options_of(module).items()}
        return {name: option for name, option in named.items() if shared_setting(role, name)}

    def test_the_role_has_a_variable_for_every_option_with_a_setting(self, role: str, module: str) -> None:
        assert self.options(role, module).keys() <= role_options(ROLES / role).keys()
        assert (role, module) in FILLED

    def test_a_setting_has_the_type_the_choices_and_the_default_of_the_option(self, role: str, module: str) -> None:
        for name, option in self.options(role, module).items():
            if name in shared_options(ROLES / role):
                setting = shared_options(ROLES / role)[name]
                kinds = {option["type"], setting["type"]}
                assert len(kinds) == 1 or kinds == {"path", "str"}, name
                assert {*setting.get("choices", [""])} == {"", *(option.get("choices") or ())}, name
                assert (setting.get("default") or None) == (option.get("default") or None) or name in OTHER_DEFAULTS

    def test_a_listed_option_has_another_default_or_meaning(self, role: str, module: str) -> None:
        """Otherwise, the role need not list it."""
        listed = {
            name
            for name, option in self.options(role, module).items()
            if name in own_options(ROLES / role)
            and (own_options(ROLES / role)[name].get("default") or None) == (option.get("default") or None)
        }
        assert listed <= {CONFIGS_OF_ROLE}  # an error contains its name if neither it nor its setting is given


OTHER_DEFAULTS = {"store_config_admin_role_name", "store_config_admin_user_name", "audit_admin_user_name"}
"""The default of the module is another option of it, or the playbooks name the users of hosts."""
