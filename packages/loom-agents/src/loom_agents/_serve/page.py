"""The page: HTML that loads one script and one style sheet, both from this server."""

import html
from importlib.resources import files
from typing import Final

__all__ = ["CONTENT_SECURITY_POLICY", "page_html", "page_script", "page_style"]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


def page_html(product: str) -> str:
    """Return the HTML of the page of a product."""
    name = html.escape(product)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{name}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head>'
        f'<body data-product="{name}"><div id="app"></div><noscript>This page needs JavaScript.</noscript>'
        '<script src="/page.js"></script></body></html>'
    )


def page_script() -> str:
    """Return the script, as built from `page/`."""
    return _file("page.js")


def page_style() -> str:
    """Return the style sheet."""
    return _file("page.css")


def _file(name: str) -> str:
    return (files("loom_agents._serve") / name).read_text(encoding="utf-8")
