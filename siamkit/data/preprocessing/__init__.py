"""Preprocessors: fitted on the training split, stored in the model file."""
