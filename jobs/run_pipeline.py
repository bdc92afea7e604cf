"""Makes a twin of a table: the whole line, from profile to report.

spark-submit jobs/run_pipeline.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
