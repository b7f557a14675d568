"""Write strategic.json anew: what this machine's kubectl makes of each patch in strategic.yaml.

A line per case: the fields of the pod, or else of the Deployment, that are not as in the original; null when gone.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

CASES = Path(__file__).parent / "goldens" / "strategic.yaml"
EXPECTED = Path(__file__).parent / "goldens" / "strategic.json"

Json = dict[str, Any]


def kubectl_result(original: Json, patch: Json) -> Json:
    """The object after a strategic merge by kubectl itself; nothing is sent to any cluster."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(original, file)
        file.flush()
        command = ["kubectl", "patch", "--local", "--type", "strategic", "-f", file.name, "-p", json.dumps(patch)]
        run = subprocess.run([*command, "-o", "json"], check=True, capture_output=True, text=True, timeout=60)
    result: Json = without_nulls(json.loads(run.stdout))
    return result


def without_nulls(value: Any) -> Any:
    """The JSON value as an API server keeps it: a null field is an absent one."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def changed_fields(original: Json, result: Json) -> Json:
    """By dotted path, each field of `result` that differs, as low as the pod's own fields."""
    before, after = _fields(original), _fields(result)
    return {name: after.get(name) for name in sorted(before | after) if before.get(name) != after.get(name)}


def _fields(obj: Json) -> Json:
    spec, template = obj["spec"], obj["spec"]["template"]
    parts = {"metadata": obj["metadata"], "spec": {**spec, "template": None}}
    parts |= {"spec.template.metadata": template["metadata"], "spec.template.spec": template["spec"]}
    return {f"{part}.{name}": value for part, fields in parts.items() for name, value in fields.items() if value}


def main() -> None:
    cases = yaml.safe_load(CASES.read_text())
    expected = {
        case["name"]: changed_fields(cases["original"], kubectl_result(cases["original"], case["patch"]))
        for case in cases["cases"]
    }
    lines = [f" {json.dumps(name)}: {json.dumps(fields)}" for name, fields in expected.items()]
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
