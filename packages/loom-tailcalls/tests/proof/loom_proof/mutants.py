"""Put named faults into a copy of the compiler and check that the tests catch each one.

    python -m loom_proof.mutants            from the folder that holds `loom_proof`; exit code 1 when a mutant survives

A mutant is a replacement of one text that occurs exactly once in one module. When the module is
rewritten the replacement no longer applies, which is an error: a mutant that is not applied
proves nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import loom

from loom_proof import observe
from loom_proof.compare import Mismatch, check
from loom_proof.program import corpus
from loom_proof.sweep import program


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in `module`, `old` becomes `new`."""

    name: str
    module: str
    old: str
    new: str


MUTANTS = (
    Mutant("locals are not cleared between steps", "_flow", "self.maybe_unbound.add(name)", "pass"),
    Mutant("closures share one frame", "_analysis", "captured = self._captured(calls)", "captured = set()"),
    Mutant(
        "assignments one after the other",
        "_loop",
        "return [at.set_all([name for name, _ in pairs], at.tuple(value for _, value in pairs))]",
        "return [at.set(*pair) for pair in pairs]",
    ),
    Mutant(
        "no temporary where a later argument reads the parameter",
        "_loop",
        "if any(_mentions(other, name) for _, other in pairs[position + 1 :]):",
        "if False:",
    ),
    Mutant(
        "the callee is not compared",
        "_loop",
        'tests: list[ast.expr] = [at.is_(callee, at.load(".this"))]',
        "tests: list[ast.expr] = [at.constant(True)]",
    ),
    Mutant(
        "only the innermost loop is left",
        "_loop",
        'return [NOWHERE.if_(NOWHERE.load(".again"), [NOWHERE.break_()])]',
        "return []",
    ),
    Mutant(
        "the flag of a left loop stays up",
        "_loop",
        'reset = NOWHERE.set(".again", NOWHERE.constant(False))',
        'reset = NOWHERE.set(".again", NOWHERE.constant(True))',
    ),
    Mutant("x = x is dropped after del x", "_loop", " and name not in self._unbinds", ""),
    Mutant(
        "an omitted default keeps the last value",
        "_loop",
        "pairs.append((name, Build(call.site.call).load(_slot(name))))",
        "pass",
    ),
    Mutant("deviations are not reported", "_explain", "for found in analysis.deviations", "for found in ()"),
)
UNCHANGED = Mutant("no fault", "_errors", "class TailCallError(LoomError):", "class TailCallError(LoomError):")


def apply(mutant: Mutant, folder: Path) -> None:
    """Write a copy of the compiler with the fault into `folder/loom`.

    Raises:
        LookupError: The text does not occur there exactly once.
    """
    source = Path(loom.__file__).parent
    path = source / f"{mutant.module}.py"
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise LookupError(
            f"cannot apply {mutant.name!r}: its text occurs {text.count(mutant.old)} times in {path.name}"
        )
    shutil.copytree(source, folder / "loom", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "loom" / path.name).write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def caught_by_corpus() -> str | None:
    """Return the first program of the corpus that the compiler gets wrong, or None."""
    for one in corpus("accepted"):
        expected = observe.run(one.source, str(one.path), observe.plain())
        seen = observe.run(one.source, str(one.path), observe.compiled(), seconds=2)
        if str(seen) != str(expected):
            return one.name
    for one in corpus("deviating"):
        kind, value = one.literal("STEP")
        decorators = observe.compiled(blocks="step")
        seen = observe.run(one.source, str(one.path), decorators, seconds=2, record=True)
        if (seen.kind, seen.value) != (kind, repr(value) if kind == "returned" else value):
            return one.name
        lines = {
            deviation["line"]
            for made in decorators.decorated
            for deviation in loom.explain_tailcalls(made, as_json=True)["deviations"]
        }
        if lines != one.deviating_lines:
            return f"{one.name} (report)"
    return None


def caught_by_generator(number: int) -> str | None:
    """Return after how many generated programs a difference shows, or None."""
    for seed in range(number):
        try:
            check(program(seed)[0])
        except Mismatch:
            return f"generated program {seed + 1}"
    return None


def caught_by(mutant: Mutant, generated: int, *, corpus_too: bool = True) -> str | None:
    """Run the tests on a mutant in a separate process; return what caught it, or None if it
    survives.
    """
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        apply(mutant, Path(folder))
        path = os.pathsep.join([folder, str(here)])
        command = [sys.executable, "-m", "loom_proof.mutants", "--test", str(generated)]
        done = subprocess.run(
            [*command, *([] if corpus_too else ["--generated-only"])],
            env={**os.environ, "PYTHONPATH": path},
            cwd=here,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode == 3:
        return done.stdout.strip()
    if done.returncode == 0:
        return None
    raise RuntimeError(f"cannot test {mutant.name!r}: {done.stderr.strip()[-500:]}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="loom_proof.mutants", description="See that faults in the compiler are caught."
    )
    parser.add_argument("--generated", type=int, default=400, help="generated programs for each mutant (default: 400)")
    parser.add_argument("--generated-only", action="store_true", help="leave the corpus out")
    parser.add_argument("--test", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.test is not None:
        caught = None if given.generated_only else caught_by_corpus()
        caught = caught or (caught_by_generator(given.test) if given.test else None)
        print(caught or "")
        return 3 if caught else 0
    unchanged = caught_by(UNCHANGED, given.generated, corpus_too=not given.generated_only)
    if unchanged is not None:
        print(f"the compiler itself is caught by {unchanged}: correct that first")
        return 1
    survivors = 0
    for mutant in MUTANTS:
        caught = caught_by(mutant, given.generated, corpus_too=not given.generated_only)
        survivors += caught is None
        print(f"{mutant.name:58} {'caught by ' + caught if caught else 'SURVIVED'}", flush=True)
    print(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
