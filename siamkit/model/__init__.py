"""The Siamese model: built from names, trained, saved and loaded."""
