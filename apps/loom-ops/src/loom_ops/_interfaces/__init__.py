"""The interfaces other than the command line: HTTP and Telegram."""
