"""From a pydantic model to a structural OpenAPI schema as a CRD takes it; pure."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from sidestream.api.rules import Rules

Schema = dict[str, Any]

_DROPPED: Final = ("title", "default", "$ref", "$defs", "anyOf", "const")


def structural_schema(model: type[BaseModel], *, with_defaults: bool) -> Schema:
    """The model's schema with references inlined, null left out and descriptions from docstrings and fields.

    Defaults are kept where they say something: empty strings, lists and objects are left to the reader, except for
    the keys of keyed lists, which the API server must find on every item.
    """
    document = model.model_json_schema(by_alias=True)
    return _Inliner(document.get("$defs", {}), with_defaults=with_defaults).inlined(document)


def add_rules(schema: Schema, rules: Rules) -> None:
    """Put CEL rules at their places in the schema of a whole object.

    Raises:
        KeyError: a rule for a field that the schema does not have.
    """
    for path, found in rules.items():
        node = schema
        for name in path:
            node = node.get("items", node)["properties"][name]
        node["x-kubernetes-validations"] = [rule.to_json() for rule in found]


class _Inliner:
    def __init__(self, definitions: dict[str, Schema], *, with_defaults: bool) -> None:
        self._definitions = definitions
        self._with_defaults = with_defaults

    def inlined(self, node: Schema) -> Schema:
        """The node as a structural schema; what it says itself goes before what it refers to."""
        schema = self._referred(node) | {key: value for key, value in node.items() if key not in _DROPPED}
        if "const" in node:
            schema["enum"] = [node["const"]]
        if self._with_defaults and node.get("default"):
            schema["default"] = node["default"]
        if "description" in schema:
            schema["description"] = _one_line(schema["description"])
        if "properties" in schema:
            schema["properties"] = {name: self.inlined(child) for name, child in schema["properties"].items()}
        if "items" in schema:
            written = schema["items"]
            schema["items"] = self.inlined(written)
            self._complete_keys(schema, self._definitions.get(written.get("$ref", "").removeprefix("#/$defs/"), {}))
        if schema.get("additionalProperties") is True:
            del schema["additionalProperties"]
        elif isinstance(schema.get("additionalProperties"), dict):
            schema["additionalProperties"] = self.inlined(schema["additionalProperties"])
        return schema

    def _referred(self, node: Schema) -> Schema:
        """What the node takes over: the model that it refers to, or the one alternative that is not null."""
        if "$ref" in node:
            return self.inlined(self._definitions[node["$ref"].removeprefix("#/$defs/")])
        if "anyOf" in node:
            (alternative,) = (choice for choice in node["anyOf"] if choice.get("type") != "null")
            return self.inlined(alternative)
        return {}

    @staticmethod
    def _complete_keys(schema: Schema, item_model: Schema) -> None:
        items = schema["items"]
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            if key not in items.get("required", ()):
                # an alternative of several has been completed before, and no longer refers to its model
                known = item_model.get("properties", {}).get(key) or items["properties"][key]
                items["properties"][key]["default"] = known.get("default", "")


def _one_line(text: str) -> str:
    return " ".join(text.split())
