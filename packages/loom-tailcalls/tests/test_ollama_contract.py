"""A local model chooses test cases; it never writes code that runs. Run with unittest in
packages/loom-tailcalls:

    LOOM_OLLAMA_FUZZ=1 python3 -m unittest tests.test_ollama_contract

Without the variable, or when no server answers, the last test is skipped with the reason. The other
tests need no model: a fake server on the loopback address gives valid and hostile answers.
"""

import http.server
import json
import os
import sys
import threading
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE / "proof", HERE.parent / "src"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from loom_proof import observe  # noqa: E402
from loom_proof.model_choice import BOUNDS, TEMPLATES, Choice, Server, Unusable, base_url, checked  # noqa: E402

WANTED = os.environ.get("LOOM_OLLAMA_FUZZ") == "1"
ROUNDS = 20

GOOD = {"template": "loops", "depth": 40, "step": 2, "items": 3}
HOSTILE = (
    "import os; os.system('echo pwned')",
    "",
    "[]",
    "null",
    '{"template": "loops"',
    json.dumps({**GOOD, "template": "__import__('os')"}),
    json.dumps({**GOOD, "template": ["loops"]}),
    json.dumps({**GOOD, "depth": 10**9}),
    json.dumps({**GOOD, "depth": -1}),
    json.dumps({**GOOD, "depth": "3); import os; (4"}),
    json.dumps({**GOOD, "step": 0}),
    json.dumps({**GOOD, "step": True}),
    json.dumps({**GOOD, "items": 1.5}),
    json.dumps({"template": "loops", "depth": 1}),
)


def equal_to_recursion(choice: Choice) -> tuple[str, str]:
    """Run a choice both ways; give both observations as text."""
    name = f"<choice {choice.template} {choice.depth} {choice.step} {choice.items}>"
    return str(observe.run(choice.source, name, observe.plain())), str(
        observe.run(choice.source, name, observe.compiled())
    )


class FakeModel(http.server.BaseHTTPRequestHandler):
    """Answers the two calls of the client; the answers come from the server object."""

    def do_GET(self):
        self.reply({"models": [{"name": "fake:1b"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked))
        self.reply({"response": self.server.answers[len(self.server.asked) - 1]})

    def reply(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Stay quiet."""


class WithFakeServer(unittest.TestCase):
    """The client and the check of its answers, against a local fake server."""

    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeModel)
        self.server.asked = []
        self.server.answers = [json.dumps(GOOD), *HOSTILE]
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        self.client = Server(f"http://127.0.0.1:{self.server.server_port}", timeout_s=5)

    def test_a_good_answer_becomes_a_program_and_hostile_ones_are_dropped(self):
        model = self.client.model()
        self.assertEqual(model, "fake:1b")
        usable = []
        for number in range(len(self.server.answers)):
            answer = self.client.choose(model, number)
            try:
                usable.append(checked(answer))
            except Unusable as reason:
                self.assertTrue(str(reason))
        self.assertEqual(usable, [Choice(**GOOD)])
        path, asked = self.server.asked[3]
        self.assertEqual((path, asked["stream"], asked["options"]["seed"]), ("/api/generate", False, 3))
        reference, compiled = equal_to_recursion(usable[0])
        self.assertEqual(compiled, reference)

    def test_nobody_at_home_is_no_model_and_no_error(self):
        self.server.shutdown()
        self.server.server_close()
        self.assertIsNone(self.client.model())


class TrustedTemplates(unittest.TestCase):
    """Every template at the edges of its bounds, without any model."""

    def test_every_template_equals_recursion_at_its_bounds(self):
        for template in TEMPLATES:
            for depth in (BOUNDS["depth"][0], 7, 150):
                for step, items in ((1, 0), (5, 6), (2, 3)):
                    with self.subTest(template=template, depth=depth, step=step, items=items):
                        reference, compiled = equal_to_recursion(Choice(template, depth, step, items))
                        self.assertEqual(compiled, reference)

    def test_a_program_is_a_template_and_whole_numbers(self):
        for template in TEMPLATES:
            source = Choice(template, 1, 2, 3).source
            for name in BOUNDS:
                self.assertNotIn("{" + name + "}", source)
            compile(source, template, "exec")

    def test_the_server_address_is_read_from_either_variable(self):
        self.assertEqual(base_url({}), "http://127.0.0.1:11434")
        self.assertEqual(base_url({"OLLAMA_HOST": "localhost:99"}), "http://localhost:99")
        self.assertEqual(base_url({"OLLAMA_BASE_URL": "http://[::1]:7/", "OLLAMA_HOST": "x"}), "http://[::1]:7")


class WithLocalModel(unittest.TestCase):
    """The real thing, on request."""

    @unittest.skipUnless(WANTED, "set LOOM_OLLAMA_FUZZ=1 to let a local model choose the cases")
    def test_the_choices_of_a_local_model_equal_recursion(self):
        client = Server(base_url())
        model = client.model()
        if model is None:
            self.skipTest(f"no model server answers at {client.url}")
        used = dropped = 0
        for number in range(ROUNDS):
            try:
                choice = checked(client.choose(model, number))
            except Unusable:
                dropped += 1
                continue
            used += 1
            with self.subTest(choice=choice):
                reference, compiled = equal_to_recursion(choice)
                self.assertEqual(compiled, reference)
        print(f"{model} chose {used} cases, {dropped} answers were dropped")
        self.assertGreater(used, 0, "the model never gave a usable choice")


if __name__ == "__main__":
    unittest.main()
