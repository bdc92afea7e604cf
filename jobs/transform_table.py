"""Applies the plan and writes the protected table.

spark-submit jobs/transform_table.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["transform", *sys.argv[1:]])
