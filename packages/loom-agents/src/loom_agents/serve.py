"""Serve a product's runs over HTTP: `serve(product, ...)`. Needs the extra `loom-agents[serve]`."""

from loom_agents._errors import NotPermittedError
from loom_agents._serve.app import build_app
from loom_agents._serve.connections import Limits
from loom_agents._serve.product import Decision, Observer, Product
from loom_agents._serve.server import serve
from loom_agents._serve.tokens import Caller, Scope, Tokens

__all__ = [
    "Caller",
    "Decision",
    "Limits",
    "NotPermittedError",
    "Observer",
    "Product",
    "Scope",
    "Tokens",
    "build_app",
    "serve",
]
