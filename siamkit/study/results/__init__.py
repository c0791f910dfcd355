"""What a study leaves: results, the best model and its card, training it further."""
