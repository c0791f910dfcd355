"""Preprocessors: fitted on the training items, stored in the model file."""
