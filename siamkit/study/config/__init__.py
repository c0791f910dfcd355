"""What a study asks: its file, checked, and the space that is searched."""
