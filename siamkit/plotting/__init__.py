"""Plotly figures and their palette, shared by notebooks, pages and reports."""
