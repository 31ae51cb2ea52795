"""The control plane is killed at every failpoint: the next one ends in the same state, nothing twice, no orphan."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from controlplane.failpoints import FAILPOINTS, VARIABLE
from controlplane.store import rollouts
from controlplane.store.database import Store
from loadtest.peers.ports import free_port
from tests import spawner
from tests.controlplane.crashing import KEY
from tests.controlplane.live_plane import states
from tests.controlplane.up import cleaned, processes_of
from tests.serving import wait_for

LATER = ("before_apply:2", "after_spawn:2", "after_route:2", "before_note:3", "after_note:2", "after_discard:2")
"""While a revision serves, and while all is undeployed."""
IN_STEPS = ("before_step:2", "after_step:3", "after_route:4")
"""In the steps of a rollout: the first has passed, the second has begun, all requests go to the new one."""
ELSEWHERE = ("after_first_object", "after_last_object", "before_plan_action", "after_plan_action", "after_send")
"""Those of the other back end, which tests/cluster has, and of webhooks."""


def run(data: Path, port: int, failpoint: str = "") -> int:
    with (data / "run.log").open("ab") as log:
        module, env = "tests.controlplane.crashing", {**os.environ, VARIABLE: failpoint}
        return spawner.start(module, str(data), str(port), output=log, env=env).wait(200)


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", [*(each for each in FAILPOINTS if each not in ELSEWHERE), *LATER, *IN_STEPS])
def test_it_goes_on_where_it_was_killed(tmp_path: Path, failpoint: str) -> None:
    port = free_port()
    with cleaned(tmp_path):
        assert run(tmp_path, port, failpoint) == -signal.SIGKILL, (tmp_path / "run.log").read_text()
        assert run(tmp_path, port) == 0, (tmp_path / "run.log").read_text()
        store = Store(f"sqlite:///{tmp_path / 'controlplane.db'}")
        assert states(store) == [
            ("deploy", 1, "SUCCEEDED"), ("deploy", 2, "SUCCEEDED"), ("undeploy", None, "SUCCEEDED"),
        ]  # fmt: skip
        with store.reading() as tx:
            (rollout,), _ = rollouts.listed(tx, KEY.serve, KEY.env, 1, 2)
            assert [each.outcome for each in rollouts.steps(tx, rollout.operation)] == ["PASSED", "PASSED"]
        for revision in (1, 2):
            log = (tmp_path / "serves" / KEY.env / KEY.serve / f"{revision}.log").read_text().split()
            assert log == ["started", "ended"], f"revision {revision} was started {log.count('started')} times"
        wait_for(lambda: len(processes_of(tmp_path)) == 1, seconds=30)  # the gateway, once the servers have ended
        assert not list((tmp_path / "serves").glob("*/*/*.json"))
