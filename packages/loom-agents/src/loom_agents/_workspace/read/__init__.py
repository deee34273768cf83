"""Tools that read files: list, read, grep, and search the documents."""
