"""Every reason and every reported difference, in one table that the messages, the docs and the
tests read.

`CODES` are refusals: the function is not compiled. `DEVIATIONS` are the differences an accepted
function may show, each named with its place in `explain_tailcalls`.
"""


class Code:
    """One entry: a short title, why the rule exists, and the usual way out."""

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
        "a lambda has no name of its own to call",
        "Write a `def`.",
    ),
    (
        "LT003",
        "its source cannot be found",
        "the rewrite starts from the source text, and there is none for this code",
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
        "this function came out of `@tailrec` or `@tailstream` before",
        "Use the decorator once.",
    ),
    (
        "LT006",
        "a decorator below has wrapped it",
        "the object that arrives is a wrapper, so its body is not the one that makes the tail call",
        "Put `@tailrec` or `@tailstream` directly above the `def`.",
    ),
    (
        "LT007",
        "a decorator above would be skipped",
        "the recursion calls the outermost decorator again on every step, a loop would run it once",
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
        "the decorator does not know this option, or not for this kind of function",
        "See the docstring of `tailrec` for the options.",
    ),
    (
        "LT010",
        "it contains no tail call to itself",
        "there is nothing to compile, so the decorator would be silent decoration",
        "Return the call itself (`return await f(...)` in a coroutine), or say `allow_none=True`.",
    ),
    (
        "LT011",
        "it calls itself outside tail position",
        "something still happens after this call returns, so each call needs its own frame and the stack grows",
        "Carry the pending work in a parameter and return the call itself, or say `allow_recursion=True`.",
    ),
    (
        "LT012",
        "it makes the tail call in a `finally`",
        "a `return` in `finally` swallows the exception on its way out, and the block is not over yet",
        "Move the call behind the `try` statement.",
    ),
    (
        "LT013",
        'it makes the tail call inside a block, and `blocks="reject"`',
        "the recursion would run the next step while this block is still open, so the call is not a tail call",
        'Move the call behind the block, or choose `blocks="step"` or `blocks="exact"`.',
    ),
    (
        "LT014",
        "the arguments do not fit its own parameters",
        "Python would raise a TypeError at this call",
        "Correct the arguments.",
    ),
    (
        "LT015",
        "it looks into its own frame",
        "`locals`, `vars()`, `dir()`, `eval`, `exec`, `f_locals` see the frame, and the compiled frame is another one",
        "Pass the values by name.",
    ),
    (
        "LT016",
        "the tail call is not awaited",
        "calling a coroutine function only makes a coroutine; without `await` no step runs",
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
        "the delegating loop does more than pass values on",
        (
            "only `async for x in f(...): yield x`, without `else` and with nothing after it, hands the rest to the "
            "next step"
        ),
        "Make the loop body exactly `yield x`, and follow it by `return` or the end of the function.",
    ),
    (
        "LT019",
        "the variable of the delegating loop is seen elsewhere",
        "the variable is global, nonlocal or captured, so others could see each value pass by",
        "Use a plain local name.",
    ),
    (
        "LT020",
        "a `finally` around the tail call may call it off",
        "`break`, `continue` or `return` in `finally` cancels the pending step, which an async generator cannot notice",
        "Move the tail call behind the `try` statement.",
    ),
    (
        "LT021",
        "a transition needs a function or coroutine",
        "a generator yields in the middle of a step, so one step is not one value",
        "Write the step as a coroutine that returns `await f(...)`.",
    ),
    (
        "LT022",
        'a transition cannot leave open blocks behind (`blocks="exact"`)',
        "open blocks live in memory, so a step that ends inside one is not a value",
        'Use `blocks="step"`, or move the tail call behind the block.',
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
        'Say `blocks="exact"` to keep blocks open, `blocks="reject"` to refuse them.',
    ),
    (
        "exception-context",
        "the handled exception is forgotten when the next step begins",
        (
            "recursion runs the next step inside the handler; here `__context__`, `sys.exc_info()` and a bare `raise`"
            " of a later step do not see the exception of this one"
        ),
        "Pass the exception as an argument if a later step needs it.",
    ),
    (
        "iterator-released",
        "the iterator of the loop is dropped before the next step",
        "recursion keeps the iterator until the deeper steps are done; visible only if dropping it runs code",
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
