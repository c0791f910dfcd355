"""Items read a chunk at a time, so that only a chunk is in memory."""
