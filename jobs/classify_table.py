"""Finds personal data, to labels.json.

spark-submit jobs/classify_table.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["classify", *sys.argv[1:]])
