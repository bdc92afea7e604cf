"""A Ray cluster to train on: a running one by address, else a small local one of its own processes, stopped after use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from twinlake.core.errors import ModelError

ATTEMPTS = 2


@contextmanager
def ray_cluster(address: str | None = None, verbose: bool = False) -> Iterator[dict[str, float]]:
    """The cluster's resources ("CPU", "GPU") while it is joined. A cluster that was running before keeps running."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # a worker's report waits until the controller has fetched the one before: Ray's own 2 s would cost 40 s a training
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    # busy machines start slowly; Ray's own defaults give up too early there
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "240")
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "240")
    if not verbose:
        os.environ.setdefault("RAY_DEDUP_LOGS", "1")
        logging.getLogger("ray").setLevel(logging.ERROR)
    import ray

    joined = ray.is_initialized()
    if not joined:
        level = logging.INFO if verbose else logging.ERROR
        if address:
            ray.init(address=address, log_to_driver=verbose, logging_level=level)
        else:
            # nobody drains this machine's only node, and the process that would look out for it takes a second to start
            os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
            _start(verbose, level)
    try:
        yield {k: float(v) for k, v in ray.cluster_resources().items() if k in ("CPU", "GPU")}  # type: ignore[no-untyped-call]
    finally:
        if not joined:
            ray.shutdown()


def _start(verbose: bool, level: int) -> None:
    """A local cluster; one that does not come up is started once more. Errors: ModelError."""
    import ray

    for attempt in range(ATTEMPTS):
        try:
            ray.init(
                num_cpus=os.cpu_count() or 1,
                include_dashboard=False,
                object_store_memory=300 * 2**20,
                log_to_driver=verbose,
                logging_level=level,
                configure_logging=verbose,
            )
            return
        except (RuntimeError, OSError) as error:  # a process of Ray's own died or hung before it said its port
            ray.shutdown()
            if attempt == ATTEMPTS - 1:
                raise ModelError(
                    f"Ray does not start on this machine ({type(error).__name__}); look for full disks and busy processors, "
                    "run again, or join a running cluster by train.ray_address"
                ) from error
