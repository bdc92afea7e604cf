"""Turns what a run encrypted back into values, given its key: real data, in a new folder.

spark-submit jobs/restore_table.py runs/people --out /secure/people.parquet [--set keys.pseudonyms=env:NAME]
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["restore", *sys.argv[1:]])
