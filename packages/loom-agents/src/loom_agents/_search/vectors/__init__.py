"""Vectors: the protocol of embeddings, and the providers of them."""
