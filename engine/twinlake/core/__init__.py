"""What every room shares: configuration, errors, seeds, key references, progress.

Knows nothing of Spark, Ray or torch.
"""
