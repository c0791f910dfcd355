"""The sections of a study's report, a subject a file; each from stored results alone."""
