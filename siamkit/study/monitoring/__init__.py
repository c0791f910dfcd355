"""Monitoring: progress, status from another process, the event log, the dashboard."""
