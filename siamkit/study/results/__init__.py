"""The results of a study: measures, the best model, its card and its exports."""
