"""Notes a finished evaluation in MLflow, where the user works with it: metrics, a few settings, the report."""

from __future__ import annotations

import os
from pathlib import Path

from twinlake.evaluate.evaluate import Evaluation

FILES = ("report.html", "report.md", "evaluation.json")
PLACES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DATABRICKS_RUNTIME_VERSION")


def log_to_mlflow(folder: Path, evaluation: Evaluation, name: str, seed: int) -> str | None:
    """Logs to the active MLflow run, or to a new one of this name; returns its id.

    Nothing happens (None) without MLflow, or where nobody said where it keeps its runs: a folder `mlruns` that nobody asked for
    would be a surprise. A metric without a number is left out.
    """
    try:
        import mlflow
    except ImportError:
        return None
    active = mlflow.active_run()
    if active is None and not any(place in os.environ for place in PLACES):
        return None
    metrics = {n: float(r.value) for n, r in evaluation.results.items() if r.value is not None}
    metrics |= {f"{n}_holdout": float(r.reference) for n, r in evaluation.results.items() if r.reference is not None}
    run = active or mlflow.start_run(run_name=name)
    try:
        mlflow.log_metrics(metrics)
        mlflow.log_params({"twinlake.name": name, "twinlake.seed": seed})
        for file in FILES:
            if (folder / file).is_file():
                mlflow.log_artifact(str(folder / file), "twinlake")
    finally:
        if active is None:
            mlflow.end_run()
    return str(run.info.run_id)
