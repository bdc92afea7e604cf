"""Synthetic rows on Spark executors: conditions, blocks, parts, redraws, and the model as users hold it."""
