"""Whatever trains more than once: plans of runs, what runs them, and what their results say."""
