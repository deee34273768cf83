"""Let a local model choose what to test: a trusted template by name, and a few small numbers.

Nothing the model writes is ever executed or put into source text: its answer is read as JSON, the
template must be one of those below, and each number a whole number inside its bounds. Other answers
are counted and dropped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.error
import urllib.request
from typing import Any

BOUNDS = {"depth": (0, 400), "step": (1, 5), "items": (0, 6)}

#: Trusted programs. `{depth}`, `{step}` and `{items}` are filled with checked whole numbers.
TEMPLATES = {
    "counter": """
@tailrec
async def f(n, acc=0, *, step=1):
    if n <= 0:
        return acc
    return await f(n - step, acc + n, step=step)


async def main():
    return await f({depth}, step={step})
""",
    "spread": """
@tailrec
async def f(n, *rest, **extra):
    if n <= 0:
        return len(rest), sorted(extra)
    return await f(n - {step}, *rest[-{items} or None:], n, **dict(extra, last=n))


async def main():
    return await f({depth}, *range({items}))
""",
    "loops": """
@tailrec
def f(n, acc=0):
    for i in range({items}):
        if i == {step}:
            break
        acc += i
    else:
        if n > 0:
            return f(n - {step}, acc + 1)
    return acc, n


def main():
    return f({depth})
""",
    "closures": """
@tailrec
def f(n, kept=()):
    if n <= 0:
        return [call() for call in kept]
    return f(n - {step}, (*kept[-{items}:], lambda: n))


def main():
    return f({depth})
""",
    "blocks": """
@tailrec(blocks="exact")
async def f(n):
    try:
        if n <= 0:
            raise KeyError(n)
        return await f(n - {step})
    except KeyError:
        return "handled", n
    finally:
        log(n % ({items} + 1))


async def main():
    return await f({depth})
""",
    "stream": """
@tailstream
async def s(n):
    for i in range({items}):
        yield n, i
    if n > 0:
        async for item in s(n - {step}):
            yield item


async def main():
    return await collect(s({depth}))
""",
}
HEAD = "from subject import collect, log, tailrec, tailstream\n\n"

PROMPT = (
    "You choose a test case. Answer with one JSON object and nothing else: "
    '{"template": one of ' + json.dumps(sorted(TEMPLATES)) + ', "depth": 0 to 400, "step": 1 to 5, "items": 0 to 6}. '
    "Choose values that are likely to show a mistake in a compiler of recursive functions. This is choice number "
)


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A checked choice."""

    template: str
    depth: int
    step: int
    items: int

    @property
    def source(self) -> str:
        """The program: the template with whole numbers in it."""
        numbers = {name: str(getattr(self, name)) for name in BOUNDS}
        text = TEMPLATES[self.template]
        for name, number in numbers.items():
            text = text.replace("{" + name + "}", number)
        return HEAD + text


class Unusable(ValueError):
    """An answer that is not a choice; the text says why."""


def checked(answer: str) -> Choice:
    """Read a model's answer.

    Raises:
        Unusable: It is not a JSON object, the template is unknown, or a number is missing, not a
            whole number or out of bounds.
    """
    try:
        data = json.loads(answer)
    except ValueError as error:
        raise Unusable(f"no JSON: {error}") from error
    if not isinstance(data, dict):
        raise Unusable("no JSON object")
    template = data.get("template")
    if not isinstance(template, str) or template not in TEMPLATES:
        raise Unusable("unknown template")
    numbers: dict[str, int] = {}
    for name, (low, high) in BOUNDS.items():
        value = data.get(name)
        if type(value) is not int or not low <= value <= high:
            raise Unusable(f"{name} is not a whole number from {low} to {high}")
        numbers[name] = value
    return Choice(template, **numbers)


def base_url(environment: dict[str, str] | None = None) -> str:
    """Return the URL of the model server: OLLAMA_BASE_URL, OLLAMA_HOST (a URL or host:port), or the
    usual port of this machine.
    """
    source = os.environ if environment is None else environment
    given = (source.get("OLLAMA_BASE_URL") or source.get("OLLAMA_HOST") or "127.0.0.1:11434").rstrip("/")
    return given if given.startswith(("http://", "https://")) else f"http://{given}"


class Server:
    """A client of the server's two calls that are needed here, standard library only."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self.url = url
        self.timeout_s = timeout_s

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=self.timeout_s) as reply:
            return json.loads(reply.read(1_000_000))

    def model(self) -> str | None:
        """Return the name of a model that the server has (OLLAMA_MODEL when it is one of them), or
        None when no server answers.
        """
        try:
            tags = self._call("/api/tags")
            names = [str(entry["name"]) for entry in tags["models"]]
        except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError):
            return None
        wanted = os.environ.get("OLLAMA_MODEL", "")
        return wanted if wanted in names else next(iter(sorted(names)), None)

    def choose(self, model: str, number: int) -> str:
        """Ask for one choice; the raw text is returned, to be validated by `checked`."""
        options = {"seed": number, "temperature": 1.0, "num_predict": 80}
        body = {"model": model, "prompt": f"{PROMPT}{number}.", "stream": False, "format": "json", "options": options}
        reply = self._call("/api/generate", body)
        return str(reply["response"]) if isinstance(reply, dict) and "response" in reply else ""
