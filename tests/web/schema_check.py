"""Whether an answer is what OpenAPI says it is, for as much of JSON Schema as the description uses."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def mismatch(described: Mapping[str, Any], schema: Mapping[str, Any], value: Any, at: str = "$") -> str | None:
    """The first place where a value is not what its schema says; None if it is. Undeclared fields are a mismatch."""
    if "$ref" in schema:
        return mismatch(described, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, at)
    if "anyOf" in schema:
        wrong = [mismatch(described, part, value, at) for part in schema["anyOf"]]
        return None if None in wrong else "; ".join(filter(None, wrong))
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
        return f"{at}: {value!r} is no {kind}"
    if schema.get("format") == "date-time":
        datetime.fromisoformat(value)
    if isinstance(value, dict):
        return _object_mismatch(described, schema, value, at)
    if isinstance(value, list) and "items" in schema:
        wrong = [mismatch(described, schema["items"], item, f"{at}[{i}]") for i, item in enumerate(value)]
        return next(filter(None, wrong), None)
    return None


def _object_mismatch(
    described: Mapping[str, Any], schema: Mapping[str, Any], value: Mapping[str, Any], at: str
) -> str | None:
    fields, others = schema.get("properties", {}), schema.get("additionalProperties", not schema.get("properties"))
    missing = set(schema.get("required", ())) - value.keys()
    if missing:
        return f"{at}: {sorted(missing)} missing"
    for name, part in value.items():
        if name not in fields and others is False:
            return f"{at}: {name} is not declared"
        declared = fields.get(name, others if isinstance(others, dict) else {})
        if (wrong := mismatch(described, declared, part, f"{at}.{name}")) is not None:
            return wrong
    return None
