"""The CustomResourceDefinitions, generated from the models.

`python -m sidestream.api.crd --write DIR` writes them, `--check DIR` fails when a folder differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from sidestream.api import rules
from sidestream.api.kafka import (
    KafkaCluster,
    KafkaClusterSpec,
    KafkaClusterStatus,
    KafkaConsumer,
    KafkaConsumerSpec,
    KafkaConsumerStatus,
    KafkaRoute,
    KafkaRouteSpec,
    KafkaRouteStatus,
)
from sidestream.api.labels import GROUP, VERSION
from sidestream.api.route_group import RouteGroup, RouteGroupSpec, RouteGroupStatus
from sidestream.api.sandbox import Sandbox, SandboxSpec, SandboxStatus
from sidestream.api.schema import Schema, add_rules, structural_schema

Crd = dict[str, Any]

_CATEGORY: Final = "sidestream"
_HEADING: Final = "# Generated from operator/sidestream/api by `make generate`; do not edit.\n"


@dataclass(frozen=True)
class Column:
    """What `kubectl get` shows; a condition's status or reason when `condition` names its type."""

    name: str
    path: str
    type: str = "string"
    condition: str = ""

    def to_json(self) -> dict[str, str]:
        """An item of `additionalPrinterColumns`."""
        prefix = f'.status.conditions[?(@.type=="{self.condition}")]' if self.condition else ""
        return {"name": self.name, "type": self.type, "jsonPath": prefix + self.path}


@dataclass(frozen=True)
class Kind:
    """One custom resource: its models and how users meet it."""

    model: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    rules: rules.Rules
    namespaced: bool = True

    @property
    def name(self) -> str:
        """The kind, as in `Sandbox`."""
        return self.model.__name__


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")

KINDS: Final = (
    Kind(
        Sandbox,
        SandboxSpec,
        SandboxStatus,
        plural="sandboxes",
        short_name="sbx",
        columns=(
            Column("Key", ".status.routingKey"),
            Column("Ready", ".status", condition="Ready"),
            Column("Reason", ".reason", condition="Ready"),
            # a string, as kubectl shows a date by its age and this one lies ahead
            Column("Expires", ".status.expiresAt"),
            Column("Preview", ".status.preview.address"),
            _AGE,
        ),
        rules=rules.SANDBOX_RULES,
    ),
    Kind(
        RouteGroup,
        RouteGroupSpec,
        RouteGroupStatus,
        plural="routegroups",
        short_name="rtg",
        columns=(
            Column("Key", ".spec.routingKey"),
            Column("Members", ".status.memberCount", "integer"),
            Column("Conflict", ".status", condition="Conflict"),
            Column("Ready", ".status", condition="Ready"),
            _AGE,
        ),
        rules=rules.ROUTE_GROUP_RULES,
    ),
    Kind(
        KafkaCluster,
        KafkaClusterSpec,
        KafkaClusterStatus,
        plural="kafkaclusters",
        short_name="kcluster",
        columns=(
            Column("Reachable", ".status", condition="Reachable"),
            Column("Reason", ".reason", condition="Reachable"),
            Column("Brokers", ".status.brokers", "integer"),
            _AGE,
        ),
        rules=rules.KAFKA_CLUSTER_RULES,
        namespaced=False,
    ),
    Kind(
        KafkaConsumer,
        KafkaConsumerSpec,
        KafkaConsumerStatus,
        plural="kafkaconsumers",
        short_name="kconsumer",
        columns=(
            Column("Deployment", ".spec.deployment"),
            Column("Group", ".spec.group"),
            Column("Accepted", ".status", condition="Accepted"),
            Column("State", ".status.groupState"),
            Column("Members", ".status.members", "integer"),
            Column("Tenants", ".status.tenants", "integer"),
            _AGE,
        ),
        rules=rules.KAFKA_CONSUMER_RULES,
    ),
    Kind(
        KafkaRoute,
        KafkaRouteSpec,
        KafkaRouteStatus,
        plural="kafkaroutes",
        short_name="kroute",
        columns=(
            Column("Sandbox", ".spec.sandbox"),
            Column("Consumer", ".spec.consumer"),
            Column("Group", ".spec.forkGroup"),
            Column("Phase", ".status.phase"),
            Column("Members", ".status.group.members", "integer"),
            Column("Ready", ".status", condition="Ready"),
            _AGE,
        ),
        rules=rules.KAFKA_ROUTE_RULES,
    ),
)


def definition(kind: Kind) -> Crd:
    """The CustomResourceDefinition of one kind."""
    singular = kind.name.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": singular,
                "shortNames": [kind.short_name],
                "categories": [_CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.to_json() for column in kind.columns],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


def object_schema(kind: Kind) -> Schema:
    """The structural schema of a whole object."""
    schema: Schema = {
        "type": "object",
        "description": " ".join((kind.model.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(kind.spec, with_defaults=True),
            # no defaults here: each field of a status is somebody's own, and nobody owns a default
            "status": structural_schema(kind.status, with_defaults=False),
        },
    }
    add_rules(schema, kind.rules)
    return schema


def files() -> dict[str, str]:
    """The text of each definition by its file name."""
    return {f"{kind.plural}.yaml": _HEADING + _yaml(definition(kind)) for kind in KINDS}


def _yaml(value: Crd) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120, allow_unicode=True)


def write(directory: Path) -> None:
    """Write every definition, and remove files that are none of ours any more."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in directory.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (directory / name).write_text(text, encoding="utf-8")


def differences(directory: Path) -> list[str]:
    """Names of files that are missing, stale or too many, sorted."""
    wanted = files()
    present = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the definitions, or tell which of them are not as the models say; returns the exit status."""
    parser = argparse.ArgumentParser(description="Generate the CustomResourceDefinitions.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", type=Path, metavar="DIR", help="write them into this folder")
    mode.add_argument("--check", type=Path, metavar="DIR", help="fail when this folder differs")
    options = parser.parse_args(arguments)
    if options.write is not None:
        write(options.write)
        return 0
    stale = differences(options.check)
    for name in stale:
        sys.stderr.write(f"{options.check / name} is not as the models say; run `make generate`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
