"""``python -m gates COMMAND``: run a tool of the Ansible ecosystem on the collection's tarball in ``build``.

For ansible-test (``sanity``, ``units``, ``integration``), the tarball is installed into a separate folder, and the
tests, which it does not contain, are copied into it. ``importer`` checks the tarball as Galaxy does, ``environment``
as ansible-builder does. All use the ansible-core of this Python, and no plugin, role or playbook of the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import ansible
import ansible_test
import yaml
from ansible.release import __version__ as core

from .evaluation import SANITY, SANITY_OF_VERSION, importer_problems, oldest, problems, summary

CHECKOUT = Path(__file__).parents[2]
BUILD = CHECKOUT / "build"
HOME = CHECKOUT / ".cache" / "ansible-test"
"""The home folder for ansible-test, which refuses to run with AWS settings in the home folder."""
TREE = BUILD / "-".join(["ansible-core", core, *sys.argv[1:2]])
"""A folder for each tool, since several run side by side."""
PROGRAMS = Path(sys.executable).parent
PYTHON = ".".join(map(str, sys.version_info[:2]))
OLDEST_PYTHON, NEWEST_PYTHON = 9, 14
OF_LIBRARIES = ("aws", "call", "call_module", "converge", "errors")
UNITS = [
    *(f"tests/unit/plugins/{name}/" for name in ("action", "filter", "modules", "plugin_utils")),
    *(f"tests/unit/plugins/module_utils/_ground/test_{name}.py" for name in OF_LIBRARIES),
]
"""The unit tests of code that uses ansible-core, amazon.aws or boto3. Pure code does the same with any version."""
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
GET_PIP = f'''"""Installs the requested pip with uv, in a tenth of the time that Python's own pip takes."""

import subprocess
import sys

requested = [each for each in sys.argv[1:] if not each.startswith("-")]
uv = [{str(PROGRAMS / "uv")!r}, "pip", "install", "--quiet", "--system-certs", "--python", sys.executable]
subprocess.check_call([*uv, *requested])
'''


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gates", description=__doc__)
    commands = {
        "sanity": sanity,
        "units": units,
        "integration": integration,
        "importer": importer,
        "environment": environment,
    }
    parser.add_argument("command", choices=commands)
    parser.add_argument("--of-version", action="store_true", help="only sanity tests that differ between ansible-cores")
    args = parser.parse_args()
    metadata = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())
    tarball = BUILD / "{namespace}-{name}-{version}.tar.gz".format(**metadata)
    commands[args.command](tarball, args)


def sanity(tarball: Path, args: argparse.Namespace) -> None:
    collection = install(tarball)
    (collection / "tests").mkdir()
    if args.of_version:  # what ansible-core offers does not depend on the Python
        python, tests = "default", SANITY_OF_VERSION
    else:
        python, tests = oldest(link.name for link in _pythons().iterdir()), SANITY
    chosen = [f"--test={name}" for name in sorted(tests)] if args.of_version else []
    run(collection, "sanity", *chosen, f"--target-python={python}", sanity=tests)


def units(tarball: Path, _args: argparse.Namespace) -> None:
    collection = install(tarball)
    tests = collection / "tests" / "unit"
    shutil.copytree(CHECKOUT / "tests" / "unit" / "plugins", tests / "plugins")
    shutil.copy(CHECKOUT / "tests" / "unit" / "conftest.py", tests)
    # Each worker imports Ansible and collects the tests three times, which costs more than it saves.
    run(collection, "units", "--local", f"--python={PYTHON}", "--num-workers=1", *UNITS)


def integration(tarball: Path, _args: argparse.Namespace) -> None:
    collection = install(tarball)
    tests = collection / "tests" / "integration"
    shutil.copytree(CHECKOUT / "tests" / "integration" / "targets", tests / "targets")
    with account(tests / "cloud-config-aws.ini"):
        run(collection, "integration", "--local", f"--python={PYTHON}")


def importer(tarball: Path, _args: argparse.Namespace) -> None:
    """Check that Galaxy and Automation Hub, which requires certain tags, would accept the tarball without warnings.

    `make lint-yaml` runs ansible-lint with the same profile and with more rules, on the same files.
    """
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", tarball],
        cwd=BUILD,
        env={**os.environ, "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "no", "GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "yes"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    print(done.stdout)
    if found := importer_problems(done.returncode, done.stdout):
        raise SystemExit("\n".join(found))


def environment(tarball: Path, _args: argparse.Namespace) -> None:
    """Check that ansible-builder finds the collection's requirements, and can describe the image of the AWX project."""
    collection = install(tarball)
    builder = PROGRAMS / "ansible-builder"
    found = subprocess.run([builder, "introspect", TREE], check=True, stdout=subprocess.PIPE, text=True).stdout
    print(found)
    required = [path.read_text().splitlines() for path in (collection / "meta").glob("ee-*.txt")]
    requirements = [line for lines in required for line in lines if not line.startswith("#")]
    if missing := [each for each in requirements if f"{each}  # from collection cwagent.iam" not in found]:
        raise SystemExit(f"ansible-builder does not find {', '.join(missing)}")
    definition = CHECKOUT / "examples" / "awx-project" / "execution-environment.yml"
    subprocess.run([builder, "create", "--file", definition, "--context", TREE / "context"], check=True)


def install(tarball: Path) -> Path:
    """Install the tarball into an empty folder, with amazon.aws beside it. :returns: the installed collection."""
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    command: list[str | Path] = [PROGRAMS / "ansible-galaxy", "collection", "install", tarball, "-p", TREE, "--no-deps"]
    subprocess.run(command, cwd=TREE, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(TREE)}, check=True)
    amazon = TREE / "ansible_collections" / "amazon" / "aws"
    amazon.parent.mkdir()
    amazon.symlink_to(Path(ansible.__file__).parents[1] / "ansible_collections" / "amazon" / "aws")
    return TREE / "ansible_collections" / "cwagent" / "iam"


@contextmanager
def account(config: Path) -> Iterator[None]:
    """An emulated AWS account for the integration targets, configured as ansible-test configures any account."""
    from emulator import Emulator

    with Emulator.start() as aws:
        # Not the root key: Ansible would mask its secret, "test", wherever the word occurs.
        iam = aws.client("iam")
        iam.create_user(UserName="ansible-test")
        iam.put_user_policy(UserName="ansible-test", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
        key = iam.create_access_key(UserName="ansible-test")["AccessKey"]
        values = {
            "aws_access_key": key["AccessKeyId"],
            "aws_secret_key": key["SecretAccessKey"],
            "aws_region": aws.region,
            "aws_endpoint_url": aws.endpoint,
            "instance_id": aws.instances(1)[0],
        }
        config.write_text("[default]\n" + "".join(f"{key}: {value}\n" for key, value in values.items()))
        yield


def run(collection: Path, command: str, *options: str, sanity: Collection[str] = SANITY) -> None:
    """Run ansible-test and print its output. End with an error when it failed or tested too little."""
    shutil.copy(CHECKOUT / "tests" / "config.yml", collection / "tests")
    # ansible-test reads the file list from git, and the checkout ignores this folder.
    for git in (["init", "--quiet"], ["add", "--all", "--force"]):
        subprocess.run(["git", *git], cwd=collection, check=True)
    _provide_pip()
    environment = {**os.environ, "HOME": str(HOME), "PATH": _path(), "PIP_QUIET": "1", "PIP_NO_COMPILE": "1"}
    process = subprocess.Popen(
        [PROGRAMS / "ansible-test", command, "--color=no", *options],
        cwd=collection,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    output = "".join(lines)
    folder = collection / "tests" / "integration" / "targets"
    targets = sorted(path.name for path in folder.iterdir()) if command == "integration" else []
    if found := problems(command, process.wait(), output, targets, sanity):
        raise SystemExit("\n".join(found))
    print(f"ansible-core {core}: {summary(command, output, targets)}.")


def _provide_pip() -> None:
    """Make ansible-test take pip from the package index. It would download pip from its own server."""
    source = (Path(ansible_test.__file__).parent / "_internal" / "python_requirements.py").read_text()
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in set(re.findall(r"pip='([\d.]+)'", source)):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP)


def _path() -> str:
    """PATH with all working Pythons first, without the folders of the others.

    A version manager has a wrapper on PATH for each Python, even if that Python is not installed. Such a wrapper makes
    ansible-test fail.
    """
    broken = {python.parent for python in _candidates() if not _works(python)}
    kept = [folder for folder in _folders() if folder not in broken]
    return os.pathsep.join(map(str, [PROGRAMS, _pythons(), *kept]))


def _pythons() -> Path:
    """A folder with a link to a working Python of each version."""
    links = TREE / "pythons"
    links.mkdir(exist_ok=True)
    for python in filter(_works, _candidates()):
        if not (links / python.name).exists():
            (links / python.name).symlink_to(python)
    return links


def _candidates() -> Iterator[Path]:
    """The Pythons on PATH and in the folder of pyenv."""
    managed = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for minor in range(OLDEST_PYTHON, NEWEST_PYTHON + 1):
        name = f"python3.{minor}"
        found = [*(folder / name for folder in _folders()), *sorted(managed.glob(f"versions/3.{minor}.*/bin/{name}"))]
        yield from (python for python in found if os.access(python, os.X_OK))


def _folders() -> list[Path]:
    return [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]


@cache
def _works(python: Path) -> bool:
    return not subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode


if __name__ == "__main__":
    main()
