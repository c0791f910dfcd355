"""What is kept and who may write it: Optuna's storage with leases and fencing, and the run folder."""
