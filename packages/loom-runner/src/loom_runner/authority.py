"""For products that bind their own policy to approval requests, and decide about them."""

from loom_runner._control.authority import Authority

__all__ = ["Authority"]
