"""Encoders: Keras models that turn one input into one embedding."""
