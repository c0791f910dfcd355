"""`siamkit` with a stand-in in place of training: a program with the arguments of the command line."""

from siamkit.cli import main
from siamkit.study.execution import session

if __name__ == "__main__":
    session.TRAINER = "stand_in_trainers:Timed"
    main()
