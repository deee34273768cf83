"""A folder of captures: the store, its index, retention."""
