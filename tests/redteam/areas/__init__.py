"""The areas: one module each, with `AREA`."""
