"""The run folder: its file names, types, results and leaderboard. No Keras here."""
