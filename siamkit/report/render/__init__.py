"""One document, several renderers: a page, a notebook, Markdown, a terminal."""
