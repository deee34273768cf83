"""Check values against the JSON Schemas of a server, in a bounded time.

A server chooses the schemas of its tools. With a regular expression such as `(a+)+$`, with
references that double, or with a result that is as large as its schema, a check would take for
ever, and everything else in this process would wait for it. So regular expressions are not
evaluated, and a check ends after a number of steps. The server itself checks what it gets.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from mcp import ClientSession

__all__ = ["BoundedSchema", "check_results"]

_MAX_DEPTH: Final = 100  # well before Python's own limit, at which the library under this one panics
_MAX_STEPS: Final = 100_000  # a third of a second
_PATTERNS: Final = ("pattern", "patternProperties", "unevaluatedProperties")


class BoundedSchema:
    """Hold a schema that somebody else wrote.

    Args:
        schema: The schema.

    Raises:
        SchemaError: It is not valid.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import extend, validator_for
        from referencing import Registry

        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
        keywords = {name: self._counted(name, check) for name, check in kind.VALIDATORS.items()}
        # With an empty registry, a reference in a schema is never fetched.
        self._validator = extend(kind, keywords)(schema, registry=Registry())  # type: ignore[no-untyped-call]  # untyped
        self._steps = self._depth = 0

    def mismatch(self, value: Any) -> "ValidationError | None":
        """Return what is wrong with a value; None if nothing is.

        Raises:
            TimeoutError: The check takes too long.
            Unresolvable: A reference leads out of the schema.
        """
        from jsonschema.exceptions import best_match

        self._steps = self._depth = 0
        try:
            found: ValidationError | None = best_match(self._validator.iter_errors(value))
        except RecursionError as exc:
            raise TimeoutError("the schema is nested too deeply") from exc
        return found

    def _counted(self, name: str, check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        def counted(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
            if name in _PATTERNS or (name == "additionalProperties" and "patternProperties" in schema):
                return
            self._steps += 1 + (len(wanted) if isinstance(wanted, list | dict) else 0)
            if name == "uniqueItems" and isinstance(value, list):
                self._steps += len(value) ** 2
            if self._steps > _MAX_STEPS:
                raise TimeoutError("the check takes too many steps")
            self._depth += 1
            try:
                if self._depth > _MAX_DEPTH:
                    raise TimeoutError("the schema is nested too deeply")
                yield from check(validator, wanted, value, schema) or ()
            finally:
                self._depth -= 1

        return counted


def check_results(session: "ClientSession") -> None:
    """Let a session check structured results within bounds; what would take longer is accepted."""
    schemas: dict[str, tuple[Any, BoundedSchema]] = {}

    async def check(name: str, result: Any) -> None:
        from jsonschema.exceptions import SchemaError
        from referencing.exceptions import Unresolvable

        schema = session._tool_output_schemas.get(name)  # noqa: SLF001  the SDK's own check cannot be bounded
        if schema is None:
            return
        try:
            if schemas.get(name, (None,))[0] != schema:
                schemas[name] = (schema, BoundedSchema(schema))
            mismatch = schemas[name][1].mismatch(result.structured_content)
        except TimeoutError:
            return
        except (SchemaError, Unresolvable, RecursionError) as exc:
            raise RuntimeError(f"its output schema cannot be used ({str(exc)[:200]})") from exc
        if mismatch is not None:
            raise RuntimeError(f"it does not match the output schema ({mismatch.message[:300]})")

    session.validate_tool_result = check  # type: ignore[method-assign]  # a session has no setting for it
