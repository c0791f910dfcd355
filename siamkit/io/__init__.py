"""Files and paths: written completely or not at all, in a folder or behind a URL."""
