"""Writes the synthetic rows as Parquet.

spark-submit jobs/generate_rows.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["generate", *sys.argv[1:]])
