"""Measures how like the original and how private the twin is.

spark-submit jobs/evaluate_twin.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
