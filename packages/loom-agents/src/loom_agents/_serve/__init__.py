"""HTTP: routes, event streams, bearer tokens, and the page."""
