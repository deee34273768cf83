"""The Telegram interface: the bot, its messages, its tables."""
