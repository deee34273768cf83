"""The errors and the warning of this package.

::

    Exception
    └── LoomError                base of all errors of this package
        ├── TailCallError        one refused function; `code` names an entry of the table in `_codes`
        └── UnreadableError      a file, or a name in it, that the command line cannot use
    Warning
    └── UserWarning
        └── BlockScopeWarning    accepted, but a tail call ends a `try` or `with` that recursion would keep open
"""

from loom._codes import CODES


class BlockScopeWarning(UserWarning):
    """Warn that a tail call ends a `try` or `with`, although the option `blocks` is not given.

    Issued at decoration time. Pass `blocks="step"` to keep this behaviour without the warning,
    `"exact"` for the behaviour of the recursion, `"reject"` for an error.
    """


class LoomError(Exception):
    """Base of all errors of this package. Catch it to catch every refusal."""


class UnreadableError(LoomError):
    """Report that a file, or a name in it, does not exist or is not Python; the message is one
    line.

    Raised by the commands that check files, not by the decorators.
    """


class TailCallError(LoomError):
    """Explain why a function is not compiled: where, why, and what to write instead.

    Raised at decoration time, never while the function runs. The function is unchanged and no part
    of it has run.

    Attributes:
        code: The key of the reason, `LT001` and so on.
        reason: Why, in one sentence.
        fix: What to do, in one sentence.
        filename, line, column: The place; `line` and `column` count from 1; `None` if there is no
            source.
        source_line: The text of that line, without its end.
        width: How many characters the caret line marks.
    """

    def __init__(
        self,
        code: str,
        subject: str,
        *,
        reason: str,
        fix: str,
        filename: str | None = None,
        line: int | None = None,
        column: int | None = None,
        source_line: str = "",
        width: int = 1,
    ) -> None:
        """Store the facts; `str()` builds the message."""
        self.code = code
        self.subject = subject
        self.reason = reason
        self.fix = fix
        self.filename = filename
        self.line = line
        self.column = column
        self.source_line = source_line
        self.width = width
        super().__init__(code, subject, reason, fix, filename, line, column)

    def __str__(self) -> str:
        """Return the message: what cannot be done, where, why, and the fix."""
        text = [f"{self.code}: cannot compile {self.subject}: {CODES[self.code].title}."]
        if self.filename is not None and self.line is not None:
            text.append(f'  File "{self.filename}":{self.line}:{self.column or 1}')
            if self.source_line.strip():
                text.extend(self._caret())
        text.append(f"  Why: {self.reason}")
        text.append(f"  Fix: {self.fix}")
        return "\n".join(text)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle all facts, so that the error can be sent to another process."""
        return _rebuild, (self.args, dict(self.__dict__))

    def _caret(self) -> list[str]:
        shown = self.source_line.lstrip()
        start = max((self.column or 1) - 1 - (len(self.source_line) - len(shown)), 0)
        width = max(1, min(self.width, len(shown) - start))
        return [f"    {shown}", "    " + " " * start + "^" * width]


def _rebuild(args: tuple[object, ...], facts: dict[str, object]) -> TailCallError:
    error = TailCallError.__new__(TailCallError, *args)
    error.__dict__.update(facts)
    return error
