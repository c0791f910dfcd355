"""Statistics between results: intervals, tests, effects. NumPy and SciPy, no Keras."""
