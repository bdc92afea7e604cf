"""Statistics of each column, to profile.json.

spark-submit jobs/profile_table.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["profile", *sys.argv[1:]])
