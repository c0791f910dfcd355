"""Items to embed, read a chunk at a time."""
