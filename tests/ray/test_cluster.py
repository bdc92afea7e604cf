"""A local Ray cluster that does not come up is started once more, and what never comes up is told."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.ray


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Makes the first `times` starts end as they do when a process of Ray's own never says its port."""
    import ray

    real, calls = ray.init, [0]

    def init(**settings: Any) -> Any:
        calls[0] += 1
        if calls[0] <= times:
            raise RuntimeError("Timed out waiting for file /tmp/ray/gcs_server_port")
        return real(**settings)

    monkeypatch.setattr(ray, "init", init)
    return calls


def test_a_cluster_that_did_not_come_up_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from twinlake.train.cluster import ray_cluster

    calls = failing(monkeypatch, 1)
    with ray_cluster() as resources:
        assert resources["CPU"] >= 1 and calls == [2]


def test_one_that_never_comes_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from twinlake.core.errors import ModelError
    from twinlake.train.cluster import ray_cluster

    calls = failing(monkeypatch, 9)
    with pytest.raises(ModelError, match=r"Ray does not start on this machine \(RuntimeError\)"), ray_cluster():
        pass
    assert calls == [2] and not ray.is_initialized()
