"""Stand-ins for ``amazon-ssm-agent`` and ``systemctl`` on an on-premises host. ``host.py`` installs them.

    python amazon_ssm_agent.py ROOT ENDPOINT amazon-ssm-agent -register -code CODE -id ID -region REGION [-y]
    python amazon_ssm_agent.py ROOT ENDPOINT amazon-ssm-agent -register -clear
    python amazon_ssm_agent.py ROOT ENDPOINT systemctl restart amazon-ssm-agent

All paths of the SSM agent are below ROOT, except a shared credentials file that its service names. Options, files, exit
codes and most messages are like the SSM agent's. It identifies its host by what is in its vault, and overwrites that
before it registers. So after a registration again that failed, the old one is lost, but the registration file is left:
https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/agent_parser.go

The emulator runs the service. It reads its registration, configuration and environment when it starts.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROGRAM = "usr/bin/amazon-ssm-agent"
UNIT = "amazon-ssm-agent"
REGISTRATION = "var/lib/amazon/ssm/registration"
VAULT = "var/lib/amazon/ssm/Vault/Store/RegistrationKey"
CONFIGURATION = "etc/amazon/ssm/amazon-ssm-agent.json"
NOT_FOUND = 5
"""The exit code of systemctl for a unit that does not exist."""


class Agent:
    """The SSM agent of a host."""

    def __init__(self, root: Path, endpoint: str) -> None:
        self.root, self.endpoint = root, endpoint

    def identity(self) -> dict[str, str]:
        """The vault, which is empty where the host is not registered."""
        path = self.root / VAULT
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _identify(self, node: str, region: str) -> None:
        key = "emulated" if node else ""
        _write(self.root / VAULT, {"instanceID": node, "region": region, "privateKey": key, "privateKeyType": "Rsa"})

    def run(self, words: list[str]) -> int:
        parser = argparse.ArgumentParser(prog="amazon-ssm-agent", allow_abbrev=False)
        for flag in ("-register", "-clear", "-y"):
            parser.add_argument(flag, f"-{flag}", action="store_true", dest=flag.strip("-"))
        for option in ("-code", "-id", "-region"):
            parser.add_argument(option, f"-{option}", default="", dest=option.strip("-"))
        given = parser.parse_args(words)
        if given.register and given.code and given.id and given.region:
            return self._register(given.code, given.id, given.region, is_forced=given.y)
        if given.register and given.clear:
            return self._clear()
        parser.print_usage(sys.stderr)
        return 1

    def _register(self, code: str, activation: str, region: str, *, is_forced: bool) -> int:
        if self.identity().get("instanceID") and not is_forced:
            question = "Would you like to override existing with new registration information? [Yes/No]: "
            print(f"\nInstance already registered. {question}", end="", flush=True)
            answer = sys.stdin.readline().strip().lower()
            if not answer.startswith("y"):
                reason = "canceled by user" if answer.startswith("n") else "failed due to Invalid response received."
                return _log("ERROR", f"Registration {reason}")
        self._identify("", "")
        params = {
            "ActivationId": activation,
            "ActivationCode": code,
            "PublicKey": "emulated",
            "PublicKeyType": "Rsa",
            "Fingerprint": "emulated",
        }
        try:
            node = self._call("RegisterManagedInstance", region, params)["InstanceId"]
        except OSError as error:
            reason = _reason(error)
            return _log("ERROR", f"Registration failed due to error registering the instance with AWS SSM. {reason}")
        self._identify(node, region)
        _write(self.root / REGISTRATION, {"ManagedInstanceID": node, "Region": region})
        words = "Successfully registered the instance with AWS SSM using Managed instance-id"
        return _log("INFO", f"{words}: {node}")

    def _clear(self) -> int:
        self._identify("", "")
        (self.root / REGISTRATION).unlink(missing_ok=True)
        return _log("INFO", "Registration information has been removed from the instance.")

    def _call(self, action: str, region: str, params: dict[str, str]) -> dict[str, Any]:
        scope = f"amazon-ssm-agent/{datetime.now(UTC):%Y%m%d}/{region}/ssm/aws4_request"
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"AmazonSSM.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none",
        }
        return _post(f"{self.endpoint}/", params, headers)

    # The service

    def environment(self) -> list[str]:
        """The variables of the service, from the files that administrators add to its unit."""
        lines = [
            line.strip()
            for path in sorted((self.root / f"etc/systemd/system/{UNIT}.service.d").glob("*.conf"))
            for line in path.read_text().splitlines()
        ]
        return [line.partition("=")[2].strip("\"'") for line in lines if line.startswith("Environment=")]

    def start(self) -> None:
        variables = dict(each.split("=", 1) for each in self.environment())
        profile = {"ShareCreds": True, "ShareProfile": "", **self._configured_profile()}
        default = Path(variables.get("HOME", self.root / "root")) / ".aws/credentials"
        file = variables.get("AWS_SHARED_CREDENTIALS_FILE") or str(default)
        self._tell(
            node=self.identity().get("instanceID", ""),
            file=file if profile["ShareCreds"] else "",
            profile=profile["ShareProfile"],
        )

    def stop(self) -> None:
        self._tell(node="")

    def _configured_profile(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.root / CONFIGURATION).read_text()).get("Profile", {}))
        except (OSError, ValueError):  # then the SSM agent uses its defaults
            return {}

    def _tell(self, **service: Any) -> None:
        headers = {"Content-Type": "application/json"}
        _post(f"{self.endpoint}/_emulator/service", {"root": str(self.root), **service}, headers)

    def control(self, words: list[str]) -> int:
        """Do as systemctl does with the unit of the SSM agent, which is the only one."""
        verb, *options, unit = words
        is_known = unit.removesuffix(".service") == UNIT and (self.root / PROGRAM).exists()
        if verb == "show":
            properties = {
                "LoadState": "loaded" if is_known else "not-found",
                "Environment": " ".join(self.environment()) if is_known else "",
            }
            names = [name for each in options for name in each.removeprefix("--property=").split(",")]
            print("\n".join(f"{name}={properties[name]}" for name in names if name in properties))
            return 0
        if not is_known:
            print(f"Failed to {verb} {unit}: Unit {unit} not found.", file=sys.stderr)
            return NOT_FOUND
        if verb == "restart":
            self.start()
        elif verb == "stop":
            self.stop()
        else:
            print(f"the emulated systemctl has no {verb}", file=sys.stderr)
            return 1
        return 0


def _post(url: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.loads(answer.read())


def _reason(error: OSError) -> str:
    if not isinstance(error, urllib.error.HTTPError):
        return f"RequestError: send request failed\ncaused by: {error}"
    answer = json.loads(error.read())
    return f"{answer['__type']}: {answer.get('message', '')}\n\tstatus code: {error.code}, request id: "


def _write(path: Path, content: dict[str, str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, separators=(",", ":")))


def _log(level: str, message: str) -> int:
    """Print a line as the SSM agent does, which logs to standard output. :returns: the exit code."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {level} {message}")
    return 0 if level == "INFO" else 1


def main() -> int:
    root, endpoint, program, *words = sys.argv[1:]
    agent = Agent(Path(root), endpoint)
    return agent.control(words) if program == "systemctl" else agent.run(words)


if __name__ == "__main__":
    sys.exit(main())
