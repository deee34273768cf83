"""Search by words and vectors: the index of documents, their readers, ranking, embeddings."""
