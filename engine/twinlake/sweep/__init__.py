"""Trials of a run with other settings: what may vary, what comes next, what was best, and the page that shows it."""
