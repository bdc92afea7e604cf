"""Tries other settings of the line for the best score: those that the section sweep of the config names.

spark-submit jobs/sweep_settings.py team.yaml [--trials 40] [dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["sweep", *sys.argv[1:]])
