"""Samplers of siamkit's own."""
