"""The run folder: its file names, the types of what it stores, and who won. No Keras here."""

from siamkit.runs.outcome import Finalist, StudyOutcome, finalists, leaderboard, read_outcome
from siamkit.runs.results import Direction, Objective, RepeatResult, Snapshot, TrialResult
from siamkit.runs.run_folder import RunFolder

__all__ = [
    "Direction",
    "Finalist",
    "Objective",
    "RepeatResult",
    "RunFolder",
    "Snapshot",
    "StudyOutcome",
    "TrialResult",
    "finalists",
    "leaderboard",
    "read_outcome",
]
