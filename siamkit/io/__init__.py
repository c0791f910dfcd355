"""Files and paths: written whole or not at all, in a folder or behind a URL."""
