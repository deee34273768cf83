"""Serve a product's runs over HTTP: `serve(product, ...)`. Needs the extra `loom-agents[serve]`."""

from loom_agents._http_app import build_app
from loom_agents._http_product import Observer, Product
from loom_agents._http_server import serve
from loom_agents._http_tokens import Caller, Scope, Tokens

__all__ = ["Caller", "Observer", "Product", "Scope", "Tokens", "build_app", "serve"]
