"""Running a study: one session a process, a supervisor of workers, a scheduler of trials."""
