"""What limits a reader, and what it returns for a file that it cannot read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest documents that are read.

    Args:
        text_bytes: The size of a text or code file.
        html_bytes: The size of an HTML file.
        docx_bytes: The size of a docx file.
        pdf_bytes: The size of a PDF file.
        pages: How many pages of a PDF are read.
        characters: How many characters of a converted document are read.
        seconds: How long a PDF may take.
    """

    text_bytes: int = 2_000_000
    html_bytes: int = 5_000_000
    docx_bytes: int = 20_000_000
    pdf_bytes: int = 50_000_000
    pages: int = 2_000
    characters: int = 5_000_000
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a file is not indexed.

    Args:
        why: The reason, as in *it is encrypted*.
        read_again: Whether to try again although the file is the same, because the reason is not in
            the file.
    """

    why: str
    read_again: bool = False
