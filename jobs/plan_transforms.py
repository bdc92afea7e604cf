"""Decides what happens to each column, to plan.yaml.

spark-submit jobs/plan_transforms.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["plan", *sys.argv[1:]])
