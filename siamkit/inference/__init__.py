"""Embedding files of any size with a trained model."""
