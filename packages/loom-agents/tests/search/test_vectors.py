"""Vectors: fused with words, made again for another model, and absent when a server is down."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loom_agents.search import DocumentIndex, EmbeddingsError, ServedEmbeddings, WordLlamaEmbeddings

MEANINGS = ({"car", "automobile", "vehicle"}, {"whale", "sea", "ocean"}, {"money", "bank", "price"})


class Meanings:
    """Embeddings that know three meanings."""

    def __init__(self, name: str = "meanings", extra: int = 0) -> None:
        self.id = name
        self.dimensions = len(MEANINGS) + 1 + extra
        self.is_down = False
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> Any:
        if self.is_down:
            raise EmbeddingsError("the embeddings server x did not answer.")
        self.texts += len(texts)
        rows = [[len(meaning & set(text.lower().split())) for meaning in MEANINGS] + [0.1] for text in texts]
        return np.array([row + [0.0] * (self.dimensions - len(row)) for row in rows], dtype=np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    for name, text in {"a": "the automobile here", "b": "the ocean there", "c": "a bank anywhere"}.items():
        (root / f"{name}.md").write_text(text)
    return root


def first(index: DocumentIndex, query: str) -> tuple[str, str]:
    match = index.search(query).matches[0]
    return match.path, match.mode


def test_what_has_the_meaning_but_not_the_word_is_found(root: Path, tmp_path: Path) -> None:
    embeddings = Meanings()
    with DocumentIndex(tmp_path / "x", root, vectors=embeddings) as index:
        report = index.refresh()
        assert (report.vectors, report.rebuilt, embeddings.texts) == ("3 of meanings", None, 3)
        assert first(index, "vehicle") == ("a.md", "hybrid")
        assert first(index, "anywhere") == ("c.md", "hybrid")
        (root / "b.md").write_text("the whale there")
        index.refresh()
        assert embeddings.texts == 3 + 2 + 1  # two queries, one changed file
        assert first(index, "sea") == ("b.md", "hybrid")
        health = index.health()
        assert (health.embeddings, health.dimensions, health.vectors) == ("meanings", 4, 3)
    with DocumentIndex(tmp_path / "x", root) as index:
        assert first(index, "anywhere") == ("c.md", "lexical")
        assert index.search("vehicle").total == 0


@pytest.mark.parametrize("other", [Meanings("other"), Meanings("meanings", extra=2)])
def test_another_model_or_dimension_makes_all_vectors_again_and_says_so(
    root: Path, tmp_path: Path, other: Meanings
) -> None:
    with DocumentIndex(tmp_path / "x", root, vectors=Meanings()) as index:
        index.refresh()
    with DocumentIndex(tmp_path / "x", root, vectors=other) as index:
        before = index.search("vehicle automobile")
        assert before.matches[0].mode == "lexical" and "by words only" in before.notes[0]
        (root / "b.md").write_text("the whale there")
        report = index.refresh()
        assert report.rebuilt is not None and "the embeddings changed from meanings" in report.rebuilt
        assert report.vectors == f"3 of {other.id}"
        assert first(index, "vehicle") == ("a.md", "hybrid")
        assert index.health().dimensions == other.dimensions


def test_another_model_is_noticed_when_no_file_has_changed(root: Path, tmp_path: Path) -> None:
    with DocumentIndex(tmp_path / "x", root, vectors=Meanings()) as index:
        index.refresh()
    with DocumentIndex(tmp_path / "x", root, vectors=Meanings("other", extra=1)) as index:
        assert index.refresh().rebuilt == "the embeddings changed from meanings to other"
        assert first(index, "vehicle") == ("a.md", "hybrid")


def test_a_server_that_is_down_leaves_words_and_a_note(root: Path, tmp_path: Path) -> None:
    embeddings = Meanings()
    embeddings.is_down = True
    with DocumentIndex(tmp_path / "x", root, vectors=embeddings) as index:
        assert index.refresh().vectors == "incomplete: the embeddings server x did not answer."
        assert "no vectors" in index.search("ocean").notes[0]
        embeddings.is_down = False
        assert index.refresh().vectors == "3 of meanings"
        embeddings.is_down = True
        found = index.search("ocean")
        assert found.notes == ("the embeddings server x did not answer. These matches are by words only.",)
        assert [(match.path, match.mode) for match in found.matches] == [("b.md", "lexical")]
        (root / "new.md").write_text("a car")
        index.refresh()
        embeddings.is_down = False
        assert index.search("vehicle").notes == ("1 of 4 parts have no vector yet; refresh the index.",)


def test_a_model_that_ships_in_its_wheel_needs_no_network(root: Path) -> None:
    with DocumentIndex(None, root, vectors=WordLlamaEmbeddings()) as index:
        assert index.refresh().vectors.startswith("3 of wordllama-")
        assert first(index, "vehicle") == ("a.md", "hybrid")
        assert index.health().dimensions == 256


def test_a_model_that_is_not_installed_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with DocumentIndex(None, root, vectors=WordLlamaEmbeddings()) as index:
        status = index.refresh().vectors
    assert status.startswith("incomplete: cannot load wordllama") and "pip install 'loom-agents[vectors]'" in status


# ------------------------------------------------------------------ servers


class _Server(ThreadingHTTPServer):
    """A server of embeddings on loopback that answers what a test says."""

    daemon_threads = True
    asked: list[tuple[str, dict[str, Any], str | None]]
    answer: tuple[int, bytes]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body, self.headers["Authorization"]))
        status, data = self.server.answer
        if status == 0:
            threading.Event().wait(0.5)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_ollama_and_openai_compatible_servers_are_asked_in_their_own_way(server: _Server) -> None:
    server.asked.clear()
    server.answer = (200, b'{"embeddings": [[1, 2], [3, 4]]}')
    ollama = ServedEmbeddings(address(server), "nomic")
    assert ollama.dimensions == 0 and ollama.embed(["a", "b"]).tolist() == [[1, 2], [3, 4]]
    assert (ollama.id, ollama.dimensions) == ("ollama:nomic", 2)
    server.answer = (200, b'{"data": [{"index": 1, "embedding": [3]}, {"index": 0, "embedding": [1]}]}')
    openai = ServedEmbeddings(f"{address(server)}/v1/embeddings", "small", api_key="k")
    assert openai.id == "openai:small" and openai.embed(["a", "b"]).tolist() == [[1], [3]]
    assert server.asked == [
        ("/api/embed", {"model": "nomic", "input": ["a", "b"]}, None),
        ("/v1/embeddings", {"model": "small", "input": ["a", "b"]}, "Bearer k"),
    ]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((404, b'{"error": "model not found,\\ntry pulling it"}'), "it answered 404 model not found, try pulling it"),
        ((500, b'{"error": {"message": "no"}}'), "it answered 500 no"),
        ((302, b""), "it answered 302"),
        ((200, b"<html>"), "its answer is no JSON"),
        ((200, b'{"embeddings": [[1], ["x"]]}'), "no list of vectors"),
        ((200, b'{"embeddings": [[1], [1, 2]]}'), "no list of vectors"),
        ((200, b"[]"), "no list of vectors"),
        ((200, b'{"embeddings": []}'), "it answered 0 vectors for 2 texts"),
        ((0, b""), r"it did not answer within 0\.2 s"),
    ],
)
def test_what_is_wrong_with_a_server_is_one_line(server: _Server, answer: tuple[int, bytes], why: str) -> None:
    server.answer = answer
    with pytest.raises(EmbeddingsError, match=why) as caught:
        ServedEmbeddings(address(server), "m", timeout_s=0.2).embed(["a", "b"])
    assert "\n" not in str(caught.value) and f"127.0.0.1:{server.server_port}" in str(caught.value)


def test_a_server_that_is_not_there_and_an_address_that_is_none(root: Path) -> None:
    with pytest.raises(EmbeddingsError, match="did not answer for m"):
        ServedEmbeddings("http://127.0.0.1:9/v1", "m").embed(["a"])
    with pytest.raises(EmbeddingsError, match="it is no HTTP address"):
        ServedEmbeddings("file:///etc/passwd", "m")
    with DocumentIndex(None, root, vectors=ServedEmbeddings("127.0.0.1:9", "m")) as index:
        assert index.refresh().vectors.startswith("incomplete: the embeddings server 127.0.0.1:9 did not answer")
        assert first(index, "ocean") == ("b.md", "lexical")
