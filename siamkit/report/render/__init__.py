"""One document, several forms: HTML, Markdown, JSON, notebook, console."""
