"""What the records of a run, or the log of any framework, tell: nothing here trains."""
