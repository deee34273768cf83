"""Schemas of a hostile server: a check of a value ends."""

import contextlib
import time
from typing import Any

import pytest
from loom_agents._mcp.bounded_schemas import BoundedSchema

SLOW = "a" * 60 + "!"
DOUBLING = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)} | {"d60": {}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, SLOW),
        ({"items": {"pattern": "^(a+)+$"}}, [SLOW]),
        ({"patternProperties": {"^(a+)+$": {}}}, {SLOW: 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {SLOW: 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}, {SLOW: 1}),
        ({"propertyNames": {"pattern": "^(a+)+$"}}, {SLOW: 1}),
        ({"$defs": DOUBLING, "$ref": "#/$defs/d0"}, 1),
        ({"allOf": [{"$ref": "#"}]}, 1),
        ({"items": {"enum": list(range(5000))}}, [-1] * 5000),
        ({"uniqueItems": True}, [{"n": n} for n in range(5000)]),
    ],
)
def test_a_check_ends_whatever_the_schema(schema: dict[str, Any], value: Any) -> None:
    started = time.monotonic()
    with contextlib.suppress(TimeoutError):
        assert BoundedSchema(schema).mismatch(value) is None
    assert time.monotonic() - started < 60  # without bounds it never ends


def test_what_is_wrong_is_still_found() -> None:
    schema = BoundedSchema({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})
    assert schema.mismatch({"a": 1}) is None
    assert "'x' is not of type" in str(schema.mismatch({"a": "x"}))
    assert "required" in str(schema.mismatch({}))
    closed = BoundedSchema({"properties": {"a": {}}, "additionalProperties": False})
    assert "'b' was unexpected" in str(closed.mismatch({"b": 1}))


def test_each_check_has_its_own_number_of_steps() -> None:
    schema = BoundedSchema({"items": {"type": "integer"}})
    for _ in range(5):
        assert schema.mismatch([1] * 40_000) is None
