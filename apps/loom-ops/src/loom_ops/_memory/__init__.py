"""The facts that earlier runs have learned."""
