"""The run folder: its file names, the types of what it stores, and who won. No Keras here."""

from siamkit.runs.objectives import Direction, Objective
from siamkit.runs.ranking import Finalist, finalists, leaderboard
from siamkit.runs.results import RepeatResult, Snapshot, TrialResult
from siamkit.runs.run_folder import RunFolder

__all__ = [
    "Direction",
    "Finalist",
    "Objective",
    "RepeatResult",
    "RunFolder",
    "Snapshot",
    "TrialResult",
    "finalists",
    "leaderboard",
]
