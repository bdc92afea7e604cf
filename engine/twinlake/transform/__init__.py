"""From labels to protected rows: a policy (rules written by people), a plan (the decision per column), its application.

Knows nothing of models. Importing it loads neither pyspark nor the detectors.
"""
