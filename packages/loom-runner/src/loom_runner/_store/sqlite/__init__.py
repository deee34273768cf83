"""The SQLite store, one module per group of tables."""
