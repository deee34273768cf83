"""Where runs are stored: the store protocol, how values are written, and the stores."""
