"""Readers: code, HTML, docx and PDF become chunks; what is broken or hostile is skipped."""

import io
import zipfile
from pathlib import Path

import pytest
from loom_agents._search.read import pdf
from loom_agents._search.read.by_definition import chunks as code_chunks
from loom_agents._search.read.chunk import Chunk, Sizes
from loom_agents._search.read.document import read_document, reader_of
from loom_agents._search.read.outcome import Limits, Skipped
from loom_agents._search.read.pdf_worker import pages
from loom_agents.search import DocumentIndex

SIZES, LIMITS = Sizes(), Limits(characters=100_000)
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def read(reader: str, data: bytes, limits: Limits = LIMITS) -> list[Chunk]:
    found = read_document(reader, data, SIZES, limits)
    assert isinstance(found, list), found
    return found


def why(reader: str, data: bytes, limits: Limits = LIMITS) -> str:
    found = read_document(reader, data, SIZES, limits)
    assert isinstance(found, Skipped), found
    return found.why


@pytest.mark.parametrize(
    ("path", "reader"),
    [
        ("a/README.md", "headings"),
        ("a/LICENSE", "headings"),
        ("x.PY", "code"),
        ("x.toml", "text"),
        ("x.htm", "html"),
        ("x.pdf", "pdf"),
        ("x.docx", "docx"),
        ("x.png", None),
        ("a.md/x", None),
        (".bashrc", None),
    ],
)
def test_the_name_decides_the_reader(path: str, reader: str | None) -> None:
    assert reader_of(path) == reader


# ------------------------------------------------------------------ text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_with_a_byte_order_mark_is_read(encoding: str) -> None:
    [chunk] = read("headings", "# Größe\r\ntext".encode(encoding))
    assert (chunk.heading, chunk.text) == ("Größe", "# Größe\ntext")


def test_bytes_that_are_no_utf_8_are_replaced_and_binary_is_skipped() -> None:
    assert read("headings", b"caf\xe9 au lait")[0].text == "caf\ufffd au lait"
    assert why("text", b"ELF\0\0") == "it is binary, not text"


# ------------------------------------------------------------------ code


def test_code_is_split_at_definitions_with_what_is_above_them() -> None:
    body = "    x = 1\n" * 30
    text = f"import os\n\n\n# about f\n@decorated\ndef f(a):\n{body}\n\nasync def g():\n{body}\nclass C:\n{body}"
    found = [(chunk.heading, chunk.line) for chunk in code_chunks(text)]
    assert found == [("", 1), ("def f(a)", 4), ("async def g()", 39), ("class C", 71)]


def test_small_definitions_share_a_chunk_and_long_classes_are_split_by_method() -> None:
    assert len(list(code_chunks("A = 1\ndef f(): pass\ndef g(): pass\n"))) == 2
    methods = "".join(f"    def method{n}(self):\n{'        pass  # filler' * 60}\n" for n in range(4))
    assert "class Long > method2" in {chunk.heading for chunk in code_chunks(f"class Long:\n{methods}")}


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("func (s *Store) Open(path string) error {", "func (s *Store) Open(path string) error"),
        ("pub(crate) fn open(path: &Path) -> Store {", "pub(crate) fn open(path: &Path) -> Store"),
        ("export default async function load(url) {", "export default async function load(url)"),
        ("CREATE OR REPLACE FUNCTION total() RETURNS int", "CREATE OR REPLACE FUNCTION total() RETURNS int"),
    ],
)
def test_definitions_of_several_languages_are_known(line: str, heading: str) -> None:
    filler = "x\n" * 150
    assert heading in [chunk.heading for chunk in code_chunks(f"{filler}\n{line}\n{filler}")]


# ------------------------------------------------------------------ HTML


def test_html_has_headings_lines_and_no_scripts() -> None:
    page = """<!doctype html><html><head><title>T</title><style>p { whale: 1 }</style></head><body>
<nav>menu</nav>
<h1>Guide<a href="#x">¶</a></h1><p>Hello <b>bo</b>ld &amp; wide<br>next</p>
<script>let whale = "<p>no</p>";</script>
<h2>In &lt;code&gt;</h2><pre>a
  b</pre><ul><li>one<li>two</ul>
</body></html>"""
    first, second = read("html", page.encode())
    assert (first.heading, first.line, first.is_source) == ("Guide", 3, False)
    assert first.text.split() == ["Guide", "Hello", "bold", "&", "wide", "next"]
    assert (second.heading, second.line) == ("Guide > In <code>", 5)
    assert "a\n  b" in second.text and "one" in second.text.split() and "two" in second.text.split()


@pytest.mark.parametrize("piece", ["<!--", "<![", "<a ", "<div>", "&#x", "</", "<script>", "<!-- -->"])
def test_hostile_html_takes_no_long_time(piece: str) -> None:
    read("html", (piece * 200_000).encode()[:400_000])


def test_html_is_cut_at_the_limit() -> None:
    found = read("html", b"<p>" + b"word " * 10_000 + b"<p>end", Limits(characters=1_000))
    assert "end" not in found[-1].text


# ------------------------------------------------------------------ docx


def docx(xml: str, name: str = "word/document.xml") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, xml)
    return file.getvalue()


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r><w:r><w:tab/><w:t>end</w:t></w:r></w:p>"


def test_the_title_of_an_html_page_is_its_heading_when_it_has_no_other() -> None:
    page = (
        "<html><head><title>Price\n list</title><script>var whale</script>{}<body><p>Ninety.</p><h1>Next</h1>x</html>"
    )
    for end in ("</head>", ""):  # which HTML permits to leave out
        found = [(chunk.heading, chunk.text) for chunk in read("html", page.format(end).encode())]
        assert found == [("Price list", "Ninety."), ("Next", "Next\nx")]


def test_docx_has_headings_and_paragraphs() -> None:
    parts = [paragraph("Intro"), paragraph("One", "Heading1"), paragraph("a &lt; b"), paragraph("Two", "Heading2")]
    found = read("docx", docx(f"<w:document {W}><w:body>{''.join(parts)}</w:body></w:document>"))
    assert [(chunk.heading, chunk.line, chunk.text.split("\n")[0]) for chunk in found] == [
        ("", 1, "Intro end"),
        ("One end", 2, "One end"),
        ("One end > Two end", 4, "Two end"),
    ]
    assert "a < b end" in found[1].text


def test_a_line_feed_inside_a_paragraph_of_docx_loses_nothing() -> None:
    parts = "".join(f"<w:p><w:r><w:t>one{n}\n\ntwo{n}</w:t></w:r></w:p>" for n in range(5))
    (found,) = read("docx", docx(f"<w:document {W}><w:body>{parts}</w:body></w:document>"))
    assert found.text.split() == [word for n in range(5) for word in (f"one{n}", f"two{n}")]


def test_a_secret_is_masked_in_text_and_heading_of_every_kind() -> None:
    token = "ghp_" + "a1B2c3D4" * 5
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Use {0}</w:t></w:r></w:p>'
    body = heading.format(token) + f"<w:p><w:r><w:t>text {token}</w:t></w:r></w:p>"
    for kind, data in {
        "headings": f"# Use {token}\n\ntext {token}\n".encode(),
        "html": f"<title>{token}</title><h1>Use {token}</h1><p>text {token}</p>".encode(),
        "docx": docx(f"<w:document {W}><w:body>{body}</w:body></w:document>"),
        "code": f"def f():\n    text = '{token}'\n".encode(),
        "text": f"text: {token}\n".encode(),
    }.items():
        found = read(kind, data)
        assert any("text" in chunk.text for chunk in found), kind
        assert all("ghp_" not in chunk.heading + chunk.text for chunk in found), kind


def test_broken_and_hostile_docx_is_skipped_with_the_reason() -> None:
    assert why("docx", b"no zip") == "it is broken"
    assert why("docx", docx("<x/>", "other.xml")) == "it is broken: it has no text"
    assert why("docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") == "it is encrypted, or of a format before docx"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    assert why("docx", docx(bomb)) == "it declares a document type, which no docx needs"
    large = docx(f"<w:document {W}><!--{' ' * 20_000_000}--></w:document>")
    assert len(large) < 30_000 and why("docx", large) == "its content is too large"
    broken = bytearray(docx(f"<w:document {W}>{paragraph('x') * 500}</w:document>"))
    broken[80:90] = b"\xff" * 10
    assert why("docx", bytes(broken)) == "it is broken"


def test_docx_is_cut_at_the_limit() -> None:
    xml = f"<w:document {W}><w:body>{paragraph('word ' * 100) * 50}</w:body></w:document>"
    found = read("docx", docx(xml), Limits(characters=1_000))
    assert sum(len(chunk.text) for chunk in found) < 3_000


# ------------------------------------------------------------------ PDF


def pdf_file(*texts: str) -> bytes:
    """Return a PDF with one page for each text."""
    pages = range(4, 4 + 2 * len(texts), 2)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{page} 0 R' for page in pages)}] /Count {len(texts)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for page, text in zip(pages, texts, strict=True):
        stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents {page + 1} 0 R"
            f" /Resources << /Font << /F1 3 0 R >> >> >>".encode(),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        ]
    file, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    file += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(file)


def test_a_pdf_is_read_page_by_page() -> None:
    found = read("pdf", pdf_file("Whales sing", "", "Seals bark"))
    assert [(chunk.heading, chunk.line, chunk.text) for chunk in found] == [
        ("page 1", 1, "Whales sing"),
        ("page 3", 3, "Seals bark"),
    ]
    assert [chunk.line for chunk in read("pdf", pdf_file("One", "Two"), Limits(pages=1))] == [1]


def test_a_broken_encrypted_or_empty_pdf_is_skipped_with_the_reason() -> None:
    from pypdf import PdfReader, PdfWriter

    assert why("pdf", b"no pdf") == "it is broken: it cannot be read"
    assert why("pdf", pdf_file("")) == "it has no text, only images"
    writer = PdfWriter(PdfReader(io.BytesIO(pdf_file("secret"))))
    writer.encrypt("password", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    assert why("pdf", file.getvalue()) == "it is encrypted"


def test_the_program_that_reads_a_pdf_says_why_it_cannot() -> None:
    assert pages(pdf_file("One", "Two"), 5, 100) == {"pages": ["One", "Two"]}
    assert pages(pdf_file("One", "Two"), 5, 3) == {"pages": ["One"]}
    assert pages(b"%PDF-1.4 nothing", 5, 100) == {"why": "it is broken: it cannot be read"}


def test_a_pdf_that_takes_too_long_is_stopped() -> None:
    assert why("pdf", pdf_file("x"), Limits(seconds=0.01)) == "it takes longer than 0.01 s to read"


def test_a_pdf_is_read_once_the_extra_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf_file("Whales sing"))
    with DocumentIndex(None, tmp_path) as index:
        monkeypatch.setattr(pdf, "is_readable", lambda: False)
        [skipped] = index.refresh().skipped
        assert skipped.why == "PDF needs pypdf: pip install 'loom-agents[documents]'"
        monkeypatch.undo()
        assert index.refresh().added == ("a.pdf",)
        [match] = index.search("whale").matches
        assert (match.path, match.line, match.heading) == ("a.pdf", 1, "page 1")
