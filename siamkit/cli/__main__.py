"""`python -m siamkit.cli`."""

from siamkit.cli import main

main(prog_name="siamkit")
