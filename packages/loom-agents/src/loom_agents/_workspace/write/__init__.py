"""Tools that change files: edit, write, and apply a patch."""
