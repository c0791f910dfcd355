"""Losses on `(y_true, embeddings)` that compare through a metric."""
