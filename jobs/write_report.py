"""Writes report.html.

spark-submit jobs/write_report.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
