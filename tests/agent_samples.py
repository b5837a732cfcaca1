"""``PYTHONPATH=.ansible/collections python tests/agent_samples.py FOLDER --schema FILE``: tests the validator.

The folder has configurations in its subfolders ``valid`` and ``invalid``; the repository of the agent has some, and the
schema. By the schema, every valid file must be accepted and every invalid one refused; without it, no valid one may be
refused. It prints how many of the invalid ones are refused without the schema. A valid file with the name of a platform
must have no section that only the other platform has, and no valid file a name that is nearly a known one. It prints
which valid files have no fitted policy, and why. No policy may allow the limited actions on everything.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fitted import ACCOUNT, REGION

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.options import read_file
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import Scope, Source, fit
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.problems import select, to_lines
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.schema import add_schema_problems, read_schema
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

# IAM can limit these actions, so no policy may allow them on every resource.
LIMITED = {"ssm:GetParameter", "logs:PutLogEvents", "logs:PutRetentionPolicy", "aps:RemoteWrite", "sts:AssumeRole"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--schema", required=True)
    args = parser.parse_args()
    schema = read_schema(read_file(args.schema), args.schema)
    wrong: list[str] = []
    refused: list[bool] = []
    for path in sorted(args.folder.glob("*/*.json")):
        platform = next((each for each in ("linux", "windows") if each in path.stem.lower()), "all")
        document = validate(read_file(str(path)), source=str(path), name=f"AmazonCloudWatch-{platform}")
        by_rules, _warnings = select(document.problems, "strict")
        checked = add_schema_problems(document, schema, args.schema, is_required=True)
        by_all, _warnings = select(checked.problems, "strict")
        if path.parent.name == "valid":
            wrong += to_lines(by_rules or by_all)
            wrong += to_lines(each for each in document.problems if each.rule.name in ("platform", "misspelled"))
            wrong += wide_statements(path.stem, document.value or {})
        else:
            refused.append(bool(by_rules))
            wrong += [] if by_all else [f"{path}: not refused"]
    print(f"{sum(refused)} of {len(refused)} invalid configurations are refused without the schema.")
    if wrong or not refused:
        sys.exit("\n".join(wrong) or f"{args.folder} has no samples")


def wide_statements(name: str, config: dict[str, Any]) -> list[str]:
    """Return the statements that are too wide, and print why there is no policy."""
    try:
        fitted = fit([Source(name, config, ("AmazonCloudWatch-x",), (REGION,))], Scope("aws", ACCOUNT))
    except InvalidInput as error:
        print(error)
        return []
    statements = [each for policy in fitted.policies for each in policy["Statement"]]
    wide = [each for each in statements if LIMITED & {*each["Action"]} and "*" in each["Resource"]]
    wide += [each for each in statements if "cloudwatch:PutMetricData" in each["Action"] and "Condition" not in each]
    return [f"{name}: {each}" for each in wide]


if __name__ == "__main__":
    main()
