"""How good and how private a twin is: metrics beside the same metric of real holdout rows, a score, a report."""
