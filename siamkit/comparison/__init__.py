"""Statistics between results; NumPy and SciPy, no Keras."""
