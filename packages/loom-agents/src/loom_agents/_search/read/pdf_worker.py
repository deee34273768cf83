"""Read a PDF from standard input and write the text of its pages to standard output as JSON.

Shape: `{"pages": [...]}`, or `{"why": "it is encrypted"}`. A separate program, so that it can be
stopped; see `pdf`.
"""

import io
import json
import logging
import sys
from typing import Any


def pages(data: bytes, max_pages: int, max_characters: int) -> dict[str, Any]:
    """Return the text of the pages of a document, or why there is none."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    found: list[str] = []
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"why": "it is encrypted"}
        for page in reader.pages:
            if len(found) >= max_pages or max_characters <= 0:
                break
            found.append(page.extract_text()[:max_characters])
            max_characters -= len(found[-1])
    except (PyPdfError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, OSError):
        if not found:
            return {"why": "it is broken: it cannot be read"}
    except (ImportError, NotImplementedError):
        return {"why": "it is encrypted in a way that cannot be read"}
    return {"pages": found}


if __name__ == "__main__":
    logging.disable()  # pypdf logs what it repairs
    json.dump(pages(sys.stdin.buffer.read(), int(sys.argv[1]), int(sys.argv[2])), sys.stdout)
