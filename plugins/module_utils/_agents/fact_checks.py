# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the facts that a server reports. Pure.

One cause is one failure. A consequence of another failure, such as a read without credentials, is not reported again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .._ground.names import name_of, surplus_parts
from .configs_plan import Wanted, after, commands, find_files, is_numbered, is_running, renames
from .endpoints import is_host
from .server import AGENT, CONFIGURATION, ENDPOINTS, IDENTITY, MESSAGE_SERVICES, NOT_INSTALLED, failure, note
from .watch import AGENT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._ground.findings import Finding
    from .server import Config, Facts, Reading, Server


RUNNING = "running"
CONTROL = f"{AGENT_FOLDER}/bin/amazon-cloudwatch-agent-ctl"
REGISTER = "Run the playbook cwagent.iam.site for this host."
RESTART = "sudo systemctl restart amazon-ssm-agent, or see its log in /var/log/amazon/ssm."
# The errors of AWS that mean that credentials are not valid.
_REFUSALS = ("(InvalidClientTokenId)", "(SignatureDoesNotMatch)", "(ExpiredToken)")
DELIVER = "Run the playbook cwagent.iam.site with cwagent_deliver_keys=true for this host."


def check_facts(server: Server, facts: Facts, seen_by: str, read_at: int = 0) -> Server:
    """Check the facts of a server.

    :param seen_by: how they were read.
    :param read_at: when, in Unix seconds by the clock of the controller; 0 if that is not known.
    """
    server = replace(
        server,
        seen_by=seen_by,
        agent=facts.agent or NOT_INSTALLED,
        sender=server.sender and replace(server.sender, hostname=facts.hostname or None),
        ahead=facts.clock - read_at if facts.clock and read_at else None,
        started=facts.start,
    )
    identity = _check_instance if server.is_ec2 else _check_session if server.is_hybrid else _check_key
    server = server.adding(*identity(server, facts))
    server = server.adding(*_check_endpoints(server, facts))
    server = server.adding(*_check_configs(server, facts))
    return _check_agent(server, facts)


def note_unseen(server: Server, reason: str) -> Server:
    """Return a server whose facts could not be collected. :param reason: why not."""
    if not server.is_running:
        return skip_facts(server, "The instance is not running")
    if server.is_windows:
        return skip_facts(server, "The server runs Windows, and only Linux servers are checked from the inside")
    what = f"Nothing was read on the server: {reason.rstrip('.')}"
    # An earlier failure can be the reason. For example, no command reaches an instance without a profile.
    if server.failures:
        return skip_facts(server, what)
    fix = "Make it reachable for Ansible or Systems Manager, or set cwagent_verify_from to none."
    return skip_facts(server, "Nothing was read on the server").adding(failure(AGENT, f"{what}.", fix))


def skip_facts(server: Server, reason: str) -> Server:
    """Return a server without facts, with a note on each check that needs them. :param reason: why it has none."""
    return server.adding(*(note(rule, f"{reason}.") for rule in (IDENTITY, CONFIGURATION, ENDPOINTS, AGENT)))


# -- Identity --


def _check_instance(server: Server, facts: Facts) -> Iterator[Finding]:
    if facts.has_metadata is None:
        yield note(IDENTITY, "Which instance profile it has itself is not known: it has no curl.")
    elif not facts.has_metadata:
        fix = f"aws ec2 modify-instance-metadata-options --instance-id {server.instance_id} --http-endpoint enabled"
        yield failure(IDENTITY, "The instance metadata service does not answer on it.", fix)
    elif server.profile and facts.profile != server.profile:
        shown = f"'{facts.profile}'" if facts.profile else "none"
        yield failure(
            IDENTITY,
            f"EC2 has associated instance profile '{server.profile}', and the instance itself shows {shown}.",
            "Wait some minutes and run again. If that does not help, associate the profile again.",
        )


def _check_key(server: Server, facts: Facts) -> Iterator[Finding]:
    if server.fails(IDENTITY):
        return  # without a user or a key that works, no key on the server would be right
    if facts.key_id is None:
        yield note(IDENTITY, f"{facts.key_file} may not be read. Let Ansible become root there.")
    elif not facts.key_id:
        yield failure(IDENTITY, f"{facts.key_file} has no access key for the agent.", DELIVER)
    elif facts.caller and name_of(facts.caller) != server.user:
        yield failure(
            IDENTITY,
            f"Access key {facts.key_id} in {facts.key_file} is of user '{name_of(facts.caller)}', not '{server.user}'.",
            DELIVER,
        )
    elif server.key_id and facts.key_id != server.key_id:
        yield failure(
            IDENTITY,
            f"{facts.key_file} has access key {facts.key_id}, and {server.key_id} is the saved one.",
            DELIVER,
        )
    elif facts.caller_error:
        if any(each in facts.caller_error for each in _REFUSALS):
            yield failure(
                IDENTITY, f"AWS refuses access key {facts.key_id} in {facts.key_file}: {facts.caller_error}.", DELIVER
            )
        else:
            yield note(IDENTITY, f"Whether the access key works is not known: {facts.caller_error}.")


def _check_session(server: Server, facts: Facts) -> Iterator[Finding]:
    if server.fails(IDENTITY):
        return  # without a node whose agent is online, no credentials on the server would be right
    # The ID is empty if the nodes could not be read.
    session = f"assumed-role/{server.role}/{server.node_id or 'mi-'}"
    if facts.key_id is None:
        yield note(IDENTITY, f"{facts.key_file} may not be read. Let Ansible become root there.")
    elif facts.shared_file:
        yield failure(
            IDENTITY,
            f"The agent uses the credentials in {facts.key_file}, and the SSM agent keeps its credentials in "
            f"{facts.shared_file}.",
            REGISTER,
        )
    elif facts.caller and f":{session}" not in facts.caller:
        caller = facts.caller.rpartition(":")[2]
        yield failure(IDENTITY, f"The credentials in {facts.key_file} are of {caller}, not of {session}.", REGISTER)
    elif not facts.key_id:
        yield failure(IDENTITY, f"{facts.key_file} has no credentials for the agent.", REGISTER)
    elif any(each in facts.caller_error for each in _REFUSALS):
        yield failure(
            IDENTITY, f"AWS refuses the credentials in {facts.key_file}: {facts.caller_error.rstrip('.')}.", RESTART
        )
    elif facts.caller_error:
        yield note(IDENTITY, f"Whether its credentials work is not known: {facts.caller_error}.")


# -- Endpoints --


def _check_endpoints(server: Server, facts: Facts) -> Iterator[Finding]:
    silent = _unreachable(server, facts)
    if silent:
        yield failure(
            ENDPOINTS,
            f"It does not reach {_join(silent, server.region)}.",
            "A private subnet needs VPC endpoints for them, a NAT gateway or a proxy.",
        )
    possible = [each for each in server.possible_endpoints if facts.endpoints.get(each) == 0]
    if possible:
        yield note(ENDPOINTS, f"It does not reach {_join(possible, server.region)}, which one configuration needs.")
    if {*server.endpoints, *server.possible_endpoints} - facts.endpoints.keys():
        yield note(ENDPOINTS, "Whether it reaches the endpoints is not known: it has no curl.")


def _join(names: list[str], region: str) -> str:
    """Return services and hosts for a message. Only the hosts contain their region."""
    services, hosts = ([each for each in names if is_host(each) == wanted] for wanted in (False, True))
    return ", ".join([*([f"{', '.join(services)} in {region}"] if services else []), *hosts])


def _unreachable(server: Server, facts: Facts) -> list[str]:
    silent = [service for service in server.endpoints if facts.endpoints.get(service) == 0]
    is_reached = any(service not in silent for service in MESSAGE_SERVICES)
    return [each for each in silent if each not in MESSAGE_SERVICES or not is_reached]


# -- Configurations --


def _check_configs(server: Server, facts: Facts) -> Iterator[Finding]:
    if not facts.has_cli:
        if server.configs:
            yield note(CONFIGURATION, "Whether it reads the configuration is only known by IAM: it has no AWS CLI.")
        return
    # Without credentials, or without a way to Parameter Store, nothing can be read.
    if server.fails(IDENTITY) or "ssm" in _unreachable(server, facts):
        return
    for config in server.configs:
        reading = facts.configs.get(config.name)
        found = _check_reading(config, reading) if reading else None
        if found:
            yield found


def _check_reading(config: Config, reading: Reading) -> Finding | None:
    if reading.error:
        if config.is_readable is False:
            return None  # the missing permission is a separate failure
        return failure(
            CONFIGURATION,
            f"It cannot read parameter {config.name}: {reading.error.rstrip('.')}.",
            f"Find out what denies ssm:GetParameter on {config.name} to it, such as a service control policy or the "
            "policy of a VPC endpoint. A SecureString needs kms:Decrypt on its key, too.",
        )
    if (reading.version, reading.digest) != (config.version, config.digest or reading.digest):
        return failure(
            CONFIGURATION,
            f"It reads version {reading.version} of parameter {config.name}, and version {config.version} is stored.",
            "Run again. If something stored another version in between, this is not a failure.",
        )
    return None


# -- The agent --


def _check_agent(server: Server, facts: Facts) -> Server:
    if not facts.agent:
        return server
    # Without the stored configuration, it is not known which parameters the agent is to run.
    stored = () if server.fails(CONFIGURATION) else _to_run(server, facts)
    # Without an identity or the permission to read, it could not fetch anything.
    can_fetch = not server.fails(IDENTITY) and all(each.is_readable is not False for each in server.configs)
    wanted = stored if can_fetch else ()
    is_refused = facts.is_refused or facts.agent != RUNNING
    calls = commands(facts.files, wanted, server.similar, is_refused=is_refused) if wanted else []
    files = _files(server, facts)
    names = {each.name for each in server.configs} & files.keys() if facts.agent == RUNNING else set()
    server = replace(
        server,
        running={name: facts.files.parameters[files[name][0]] for name in sorted(names)},
        runs=stored,
        runs_others=bool(facts.files.others or files.keys() - {each.name for each in server.configs}),
        is_refused=is_refused,
        in_trial=any(is_numbered(each.name, files.get(each.name, ())) for each in wanted),
        commands=tuple(calls),
        renames=tuple(renames(after(facts.files, calls, wanted), wanted, server.label, server.similar)),
    )
    return server.adding(*_check_status(server, facts), *_check_files(server, facts))


def _files(server: Server, facts: Facts) -> dict[str, list[str]]:
    """Return the files of each configuration."""
    return find_files(facts.files.parameters, {each.name for each in server.configs}, server.similar)


def _to_run(server: Server, facts: Facts) -> tuple[Wanted, ...]:
    """Return the configurations that the agent is to run; nothing if one could not be read."""
    files = _files(server, facts)
    expected = tuple(
        Wanted(each.name, each.digest or _digest_read(each, facts), each.version)
        for each in server.configs
        if server.runs_all or each.name in files
    )
    return expected if all(each.digest for each in expected) else ()


def _digest_read(config: Config, facts: Facts) -> str:
    """Return the digest that the server itself reads. Only a server decrypts a parameter; empty if it cannot."""
    reading = facts.configs.get(config.name)
    return reading.digest if reading and reading.version == config.version else ""


def _check_status(server: Server, facts: Facts) -> Iterator[Finding]:
    if facts.agent == RUNNING:
        return
    if not facts.files.parameters and not facts.files.others:
        yield failure(AGENT, f"The agent is {facts.agent} and has no configuration.", _fix(server))
    else:
        fix = f"sudo {CONTROL} -a start -m {server.mode}, or see its log."
        yield failure(AGENT, f"The agent is {facts.agent}.", fix)


def _check_files(server: Server, facts: Facts) -> Iterator[Finding]:
    files = _files(server, facts)
    if server.fails(CONFIGURATION) or (facts.agent != RUNNING and not files):
        return
    if not server.runs and server.configs:
        if not files.keys() & {each.name for each in server.configs}:
            yield failure(AGENT, "The agent runs no stored configuration.", _fix(server))
        else:
            yield note(AGENT, "Whether it runs the stored configuration is not known, since that was not read.")
        return
    several = [files[each.name] for each in server.runs if files.get(each.name, [])[1:]]
    for each in several:
        what = f"The agent merges several versions of a configuration, which are in the files {', '.join(each)}."
        yield failure(AGENT, what, _fix(server))
    differing = [each.name for each in server.runs if not is_running(each, files, facts.files)]
    if differing and not several:
        yield failure(AGENT, f"The agent does not run the stored {', '.join(differing)}.", _fix(server))
    surplus = surplus_parts(files, {each.name for each in server.runs})
    if surplus:
        yield failure(AGENT, f"The agent still runs {', '.join(surplus)}, which is no longer stored.", _fix(server))


def _fix(server: Server) -> str:
    if server.runs:
        return "Run the playbook cwagent.iam.apply."
    return "Set cwagent_config_names for the host, and run the playbook cwagent.iam.apply."
