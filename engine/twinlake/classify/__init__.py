"""Finds personal data: a label (entity, score, counts) for each column. Knows nothing of what is done about it."""
