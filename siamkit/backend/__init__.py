"""Choosing, describing and calling the Keras backends."""
