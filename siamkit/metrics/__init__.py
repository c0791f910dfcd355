"""Metrics: how two embeddings are compared."""
