"""Read one file: choose a reader by its name, and turn its bytes into chunks.

A file that cannot be read is skipped with a reason. Nothing in a file raises an error.
"""

import re
from typing import Final

from loom_agents._search.read import by_definition, by_heading, docx, html_text, pdf
from loom_agents._search.read.chunk import Chunk, Sizes, split, without_secrets
from loom_agents._search.read.outcome import Limits, Skipped

_SUFFIXES: Final = {
    "headings": "md markdown mdx rst adoc asciidoc txt text",
    "text": "toml yaml yml ini cfg css scss tf tex org",
    "code": """py pyi js jsx mjs cjs ts tsx go rs java kt kts scala rb c h cc cpp cxx hpp cs swift m ex exs erl hs ml
        mli lua pl pm r jl sql sh bash zsh ps1 vue svelte proto graphql php dart zig nim clj el groovy gradle""",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "docx": "docx",
}
_READERS: Final = {suffix: reader for reader, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
# Files without a suffix that people write.
_NAMES: Final = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|authors|contributors|contributing|changelog|changes|history|news|install"
    r"|todo|makefile|dockerfile|justfile|jenkinsfile|vagrantfile|procfile|gemfile|rakefile)"
)
MAX_LINE_CHARACTERS: Final = 5_000  # a text with longer lines is generated, and would match every search


def reader_of(path: str) -> str | None:
    """Return the reader for a file, judged by its name; None for a file that is no document.

    Shape: `headings`, `text`, `code`, `html`, `pdf` or `docx`.
    """
    dot = path.rfind(".")
    if dot > 0 and path[dot - 1] != "/" and (reader := _READERS.get(path[dot + 1 :])):
        return reader  # most files; an index asks for all of them, each time
    name = path[path.rfind("/") + 1 :].lower()
    dot = name.rfind(".")
    if dot > 0:
        return _READERS.get(name[dot + 1 :])
    return "headings" if _NAMES.fullmatch(name) else None


def max_bytes(reader: str, limits: Limits) -> int:
    """Return the size of the largest file that a reader reads."""
    sizes = {"html": limits.html_bytes, "pdf": limits.pdf_bytes, "docx": limits.docx_bytes}
    return sizes.get(reader, limits.text_bytes)


def missing_for(reader: str) -> Skipped | None:
    """Return why files of a reader cannot be read here; None when they can."""
    return pdf.MISSING if reader == "pdf" and not pdf.is_readable() else None


def read_document(reader: str, data: bytes, sizes: Sizes, limits: Limits) -> list[Chunk] | Skipped:
    """Turn the bytes of a file into chunks, or say why it is skipped."""
    if reader == "pdf":
        return pdf.chunks(data, sizes, limits)
    if reader == "docx":
        return docx.chunks(data, sizes, limits)
    text = decoded(data)
    if text is None:
        return Skipped("it is binary, not text")
    if reader == "html":
        return html_text.chunks(text, sizes, limits)
    if len(text) > MAX_LINE_CHARACTERS and max(map(len, text.split("\n"))) > MAX_LINE_CHARACTERS:
        return Skipped(f"it has lines of more than {MAX_LINE_CHARACTERS} characters, so it is generated")
    text = without_secrets(text)
    if reader == "headings":
        return list(by_heading.chunks(text, sizes))
    if reader == "code":
        return list(by_definition.chunks(text, sizes))
    lines = text.split("\n")
    return list(split(lines, 1, len(lines) + 1, "", sizes))


def is_plain(reader: str) -> bool:
    """Report whether the lines of a reader's files are those of the text."""
    return reader in ("headings", "text", "code")


def decoded(data: bytes) -> str | None:
    """Return the text of a plain file; None for a binary one."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace").replace("\r\n", "\n")
    if b"\0" in data[:8192]:
        return None
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", " ")
