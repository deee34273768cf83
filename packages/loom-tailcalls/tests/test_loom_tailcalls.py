"""The whole corpus and the public names with unittest, without pytest. Run in
packages/loom-tailcalls:

    python3 -m unittest tests.test_loom_tailcalls
    python3 -m unittest discover -s tests

An installed `loom` is tested; without one, the `src` folder beside this one.
"""

import asyncio
import importlib.util
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE / "proof"))
if importlib.util.find_spec("loom") is None:
    sys.path.append(str(HERE.parent / "src"))

import loom  # noqa: E402
from loom import Return, TailCall, TailCallError, explain_tailcalls, tailrec, tailstream, transition  # noqa: E402
from loom_proof import observe  # noqa: E402
from loom_proof.program import corpus  # noqa: E402


@tailrec
async def total(n: int, acc: int = 0) -> int:
    """Add the numbers from n down."""
    if n == 0:
        return acc
    return await total(n - 1, acc + n)


@tailstream
async def count(n: int):
    """Count down."""
    yield n
    if n:
        async for number in count(n - 1):
            yield number


class PublicNames(unittest.TestCase):
    """The public names, as the README of the package uses them."""

    def test_a_deep_tail_call_runs_as_a_loop(self):
        self.assertEqual(asyncio.run(total(100_000)), 5_000_050_000)

    def test_a_stream_yields_everything(self):
        async def read():
            return [number async for number in count(5_000)]

        self.assertEqual(sum(asyncio.run(read())), 12_502_500)

    def test_explain_returns_text_and_data(self):
        self.assertIn("total", str(explain_tailcalls(total)))
        data = explain_tailcalls(total, as_json=True)
        self.assertEqual(len(data["sites"]), 1)
        self.assertEqual(data["deviations"], [])

    def test_a_transition_is_one_step(self):
        delta = transition(total)
        out = asyncio.run(delta(2))
        self.assertIsInstance(out, TailCall)
        self.assertEqual(dict(out.arguments), {"n": 1, "acc": 2})
        steps = 1
        while isinstance(out, TailCall):
            out = asyncio.run(delta.step(out.arguments))
            steps += 1
        self.assertEqual((out, steps), (Return(3), 3))

    def test_a_refusal_names_its_place(self):
        with self.assertRaises(TailCallError) as refusal:

            @tailrec
            async def factorial(n):
                if n == 0:
                    return 1
                return n * await factorial(n - 1)

        self.assertIn("LT011", str(refusal.exception))
        self.assertIn("test_loom_tailcalls.py", str(refusal.exception))

    def test_the_public_names_are_listed_and_sorted(self):
        self.assertEqual(list(loom.__all__), sorted(loom.__all__))
        for name in loom.__all__:
            self.assertTrue(hasattr(loom, name), name)


class Corpus(unittest.TestCase):
    """Every program of the corpus against plain recursion; pytest runs them in more modes."""

    def test_accepted_programs_equal_plain_recursion(self):
        for program in corpus("accepted"):
            with self.subTest(program=program.name):
                expected = observe.run(program.source, str(program.path), observe.plain())
                self.assertEqual(str(observe.run(program.source, str(program.path), observe.compiled())), str(expected))

    def test_deviating_programs_equal_plain_recursion_when_blocks_are_exact(self):
        for program in corpus("deviating"):
            if program.name.startswith(("handler_", "stream_a")):
                continue  # no mode keeps a handler's context or a stream's sender; test_corpus.py pins what happens
            with self.subTest(program=program.name):
                expected = observe.run(program.source, str(program.path), observe.plain())
                seen = observe.run(program.source, str(program.path), observe.compiled(blocks="exact"))
                self.assertEqual(str(seen), str(expected))

    def test_refused_programs_are_refused(self):
        for program in corpus("refused"):
            with self.subTest(program=program.name):
                seen = observe.run(program.source, str(program.path), observe.compiled())
                self.assertTrue(seen.value.startswith("TailCallError: LT"), seen)


if __name__ == "__main__":
    unittest.main()
