"""Start and drive the runs of incidents, for the command line, HTTP and Telegram."""
