"""The interfaces beside the command line: HTTP and Telegram."""
