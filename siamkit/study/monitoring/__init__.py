"""Watching: progress, status from another process, the log, the dashboard."""
