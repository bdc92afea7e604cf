"""Fits the generative model with Ray Train.

spark-submit jobs/train_model.py --config conf/quickstart.yaml [--set dotted.key=value]...
"""

import sys

from twinlake.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
