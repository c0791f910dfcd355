"""Whatever has embeddings to be compared: models, files of vectors, trials of studies; and their items."""
