"""The version of siamkit."""

__version__ = "0.1.0"
