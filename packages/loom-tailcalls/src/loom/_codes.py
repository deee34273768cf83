"""Every reason for a refusal and every reported difference: the tables behind messages, docs and
tests.

`CODES` are refusals: the function is not compiled. `DEVIATIONS` are the differences an accepted
function may show, each named with its place in `explain_tailcalls`.
"""


class Code:
    """One entry: a short title, why the rule exists, and the usual fix."""

    __slots__ = ("fix", "key", "title", "why")

    def __init__(self, key: str, title: str, why: str, fix: str) -> None:
        """Keep the four texts."""
        self.key = key
        self.title = title
        self.why = why
        self.fix = fix

    def __repr__(self) -> str:
        """Show the key and the title."""
        return f"Code({self.key!r}, {self.title!r})"


def _table(*rows: tuple[str, str, str, str]) -> dict[str, Code]:
    return {row[0]: Code(*row) for row in rows}


CODES = _table(
    (
        "LT001",
        "it is not a Python function",
        "only a function that was made by `def` or `async def` has a body to compile",
        "Put the decorator directly above the `def`, under `@staticmethod`, `@classmethod` and `@property`.",
    ),
    (
        "LT002",
        "it is a lambda",
        "a lambda has no name by which it could call itself",
        "Write a `def`.",
    ),
    (
        "LT003",
        "its source cannot be found",
        "the compiler reads the source text, and this code has none",
        (
            "Put the function into a file (or a notebook cell); code from `exec` or without its .py file cannot be "
            "compiled."
        ),
    ),
    (
        "LT004",
        "its source is not what Python loaded",
        (
            "the text in the file does not compile to the code of the loaded function: the file was edited after the "
            "import, or an import hook changed the code"
        ),
        "Restart the process (or reload the module), and switch off import hooks that rewrite this module.",
    ),
    (
        "LT005",
        "it is already compiled",
        "this function is the result of `@tailrec` or `@tailstream`",
        "Use the decorator once.",
    ),
    (
        "LT006",
        "a decorator below has wrapped it",
        "the decorator receives a wrapper, and the body of the wrapper does not make the tail call",
        "Put `@tailrec` or `@tailstream` directly above the `def`.",
    ),
    (
        "LT007",
        "a decorator above would be skipped",
        "the recursion calls the outermost decorator at every step, a loop would call it once",
        "Move that work into the body, or bind the decorated function to another name: `traced = trace(f)`.",
    ),
    (
        "LT008",
        "it is not a generator",
        "`@tailstream` compiles generators and async generators",
        "Use `@tailrec` for a function or coroutine.",
    ),
    (
        "LT009",
        "an option does not fit",
        "the value of an option is not valid, or not valid for this kind of function",
        "See the docstring of `tailrec` for the options.",
    ),
    (
        "LT010",
        "it contains no tail call to itself",
        "there is nothing to compile, so the decorator would have no effect",
        "Return the call itself (`return await f(...)` in a coroutine), or pass `allow_none=True`.",
    ),
    (
        "LT011",
        "it calls itself outside tail position",
        "something still happens after this call returns, so each call needs its own frame and the stack grows",
        "Carry the pending work in a parameter and return the call itself, or pass `allow_recursion=True`.",
    ),
    (
        "LT012",
        "it makes the tail call in a `finally`",
        "a `return` in `finally` discards the pending exception, and the block has not ended yet",
        "Move the call after the `try` statement.",
    ),
    (
        "LT013",
        'it makes the tail call inside a block, and `blocks="reject"`',
        "the recursion would run the next step while this block is still open, so the call is not a tail call",
        'Move the call after the block, or choose `blocks="step"` or `blocks="exact"`.',
    ),
    (
        "LT014",
        "the arguments do not fit its own parameters",
        "Python would raise a TypeError at this call",
        "Correct the arguments.",
    ),
    (
        "LT015",
        "it inspects its own frame",
        "`locals`, `vars()`, `dir()`, `eval`, `exec`, `f_locals` read the frame, and the compiled function has another",
        "Pass the values by name.",
    ),
    (
        "LT016",
        "the tail call is not awaited",
        "calling a coroutine function only creates a coroutine; without `await` no step runs",
        "Write `return await f(...)`.",
    ),
    (
        "LT017",
        "its own name means something else in its body",
        "a parameter or local variable has the function's name, so this call does not reach the function",
        "Rename the variable or the function.",
    ),
    (
        "LT018",
        "the delegating loop does more than forward values",
        (
            "only `async for x in f(...): yield x`, without `else` and with nothing after it, leaves the rest of the "
            "stream to the next step"
        ),
        "Make the loop body exactly `yield x`, and follow it by `return` or the end of the function.",
    ),
    (
        "LT019",
        "the variable of the delegating loop is used elsewhere",
        "the variable is global, nonlocal or captured, so other code could see each value",
        "Use a plain local name.",
    ),
    (
        "LT020",
        "a `finally` around the tail call may cancel it",
        "`break`, `continue` or `return` in `finally` cancels the pending step, which an async generator cannot notice",
        "Move the tail call after the `try` statement.",
    ),
    (
        "LT021",
        "a transition needs a function or coroutine",
        "a generator yields in the middle of a step, so one step is not one value",
        "Write the step as a coroutine that returns `await f(...)`.",
    ),
    (
        "LT022",
        'a transition cannot end inside an open block (`blocks="exact"`)',
        "open blocks exist only in memory, so a step that ends inside one is not a value",
        'Use `blocks="step"`, or move the tail call after the block.',
    ),
)

DEVIATIONS = _table(
    (
        "block-scope",
        "the block ends before the next step begins",
        (
            "recursion keeps a `try` or `with` open while the deeper steps run; here it covers one step: its handlers"
            " do not see errors of later steps, a timeout or lock covers this step, and exits run in step order"
        ),
        'Pass `blocks="exact"` to keep blocks open, `blocks="reject"` to refuse them.',
    ),
    (
        "exception-context",
        "the handled exception is cleared when the next step begins",
        (
            "recursion runs the next step inside the handler; here `__context__`, `sys.exc_info()` and a bare `raise`"
            " of a later step do not see the exception of this one"
        ),
        "Pass the exception as an argument if a later step needs it.",
    ),
    (
        "iterator-released",
        "the iterator of the loop is released before the next step",
        "recursion keeps the iterator until the deeper steps have ended; visible only if releasing it runs code",
        "Leave the loop first (`break`), then make the tail call.",
    ),
    (
        "stream-delegation",
        "values sent or thrown in reach the current step",
        (
            "`asend`, `athrow` and `aclose` act on the step that runs, as `yield from` does; in the recursion they "
            "act on the outermost one"
        ),
        "Do not send or throw into the generator if the difference matters.",
    ),
)
