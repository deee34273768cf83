"""The HTML page: its document, its data blocks, and the bundled viewer that reads them."""
