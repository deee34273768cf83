"""Start and drive the runs of incidents: what the command line, HTTP and Telegram share."""
