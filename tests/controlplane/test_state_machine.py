"""Any sequence of requests, crashes and failures, with a clock that the test moves: what always holds."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.backends.backend import Key
from controlplane.store import operations, targets
from tests.controlplane.plane import Plane, opened

SERVES = st.sampled_from(["a", "a", "a", "b"])  # mostly one, so that changes meet
ENVIRONMENTS = st.sampled_from(["local", "local", "local", "prod"])
STRATEGIES = st.sampled_from([
    ("rolling", {}), ("canary", {"steps": [5, 50], "interval": "5m"}),
    ("linear", {"step_weight": 40, "interval": 5, "skip_analysis": True}),
    ("blue-green", {"keep": "1m"}),
])  # fmt: skip
VERBS = st.sampled_from(["pause", "resume", "promote", "abort", "retry", "undo"])
MODELS = st.sampled_from(["models:/m/1", "models:/m/2", "models:/m/3", "models:/broken/1", "models:/slow/1"])


class ControlPlaneMachine(RuleBasedStateMachine):
    plane: Plane

    @initialize()
    def start(self) -> None:
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.plane = self.stack.enter_context(opened(Path(folder)))
        self.plane.backend.broken.add("models:/broken/1")
        self.plane.backend.slow.add("models:/slow/1")
        self.plane.post("/environment", {"name": "prod"}, 201)
        self.revisions: dict[tuple[str, str, int], Any] = {}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.plane.backend.away = False
            for serve, env in itertools.product("ab", ("local", "prod")):
                self.plane.send("POST", f"/serve/{serve}/rollout/{env}/resume")
            self.plane.settle(stride=100, seconds=5000)
            self.desired_is_observed()
            self.stack.close()

    def send(self, method: str, path: str, body: Any = None, act: bool = True) -> None:
        """Whatever the answer is, it is one that the API documents."""
        response = self.plane.send(method, path, body)
        assert response.status_code in (200, 202, 404, 409, 412, 422), response.text
        if response.status_code >= 400:
            assert response.json()["way_out"]
        if act:
            self.act()

    @rule(serve=SERVES, env=ENVIRONMENTS, model=MODELS, cores=st.none() | st.integers(1, 3), act=st.booleans())
    def deploy(self, serve: str, env: str, model: str, cores: int | None, act: bool) -> None:
        body = {"serve_name": serve, "env": env, "model_uri": model, **({"cores": cores} if cores else {})}
        self.send("POST", "/serve/deploy-model", body, act)

    @rule(serve=SERVES, env=ENVIRONMENTS, model=MODELS, strategy=STRATEGIES)
    def roll_out(self, serve: str, env: str, model: str, strategy: tuple[str, Any]) -> None:
        plan = {"deployment_strategy": strategy[0], "deployment_strategy_config": strategy[1]}
        self.send("POST", "/serve/deploy-model", {"serve_name": serve, "env": env, "model_uri": model, **plan})

    @rule(serve=SERVES, env=ENVIRONMENTS, verb=VERBS, act=st.booleans())
    def steer(self, serve: str, env: str, verb: str, act: bool) -> None:
        self.send("POST", f"/serve/{serve}/rollout/{env}/{verb}", act=act)

    @rule(serve=SERVES, env=ENVIRONMENTS)
    def undeploy(self, serve: str, env: str) -> None:
        self.send("POST", "/serve/undeploy-model", {"serve_name": serve, "env": env})

    @rule(serve=SERVES, env=ENVIRONMENTS, memory=st.integers(1, 3))
    def change(self, serve: str, env: str, memory: int) -> None:
        self.send("PATCH", f"/serve/{serve}/infra-config/{env}", {"memory": memory})

    @rule(serve=SERVES, env=ENVIRONMENTS, revision=st.integers(1, 4))
    def roll_back(self, serve: str, env: str, revision: int) -> None:
        self.send("POST", f"/serve/{serve}/rollback", {"env": env, "revision": revision})

    @rule()
    def abort(self) -> None:
        for operation in self.running():
            self.send("POST", f"/operation/{operation.id}/abort")

    @rule(serve=SERVES, env=ENVIRONMENTS)
    def crash(self, serve: str, env: str) -> None:
        key = Key(env, serve)
        serving = self.plane.backend.serving.get(key)
        if serving is not None and serving in self.plane.backend.instances.get(key, {}):
            self.plane.backend.crash(key, serving)

    @rule(away=st.booleans())
    def cut_off(self, away: bool) -> None:
        self.plane.backend.away = away

    @rule(seconds=st.sampled_from([0.5, 10, 700]))
    def wait(self, seconds: float) -> None:
        self.plane.clock.time += seconds

    @rule()
    def act(self) -> None:
        if not self.plane.backend.away:
            self.plane.step()

    def running(self) -> list[operations.Operation]:
        with self.plane.store.reading() as tx:
            rows = tx.execute(operations.T.select().where(operations.T.c.state == "RUNNING"))
            return [operations.of(row) for row in rows]

    @invariant()
    def one_change_is_under_way(self) -> None:
        places = [(operation.serve, operation.env) for operation in self.running()]
        assert len(places) == len(set(places))
        with self.plane.store.reading() as tx:
            under_way = {target.operation for target in targets.everything(tx)} - {None}
        assert under_way == {operation.id for operation in self.running()}

    @invariant()
    def revisions_never_change(self) -> None:
        with self.plane.store.reading() as tx:
            now = {
                (each.serve, each.env, each.number): each
                for serve in ("a", "b")
                for each in targets.revisions(tx, serve, None, 1, 200)[0]
            }
        assert self.revisions.items() <= now.items()
        self.revisions = now

    @invariant()
    def deployments_say_what_is(self) -> None:
        with self.plane.store.reading() as tx:
            for target in targets.everything(tx):
                active = targets.deployments(tx, target.serve, target.env, "ACTIVE", 1, 200)[0]
                pending = targets.deployments(tx, target.serve, target.env, "PENDING", 1, 200)[0]
                assert [each.revision for each in active] == ([target.active] if target.active else [])
                running = [operations.get(tx, target.operation)] if target.operation else []
                wanted = [operation.revision for operation in running if operation.revision]
                assert [each.revision for each in pending] == wanted

    @invariant()
    def no_broken_model_serves(self) -> None:
        for key, revision in self.plane.backend.serving.items():
            uri = self.plane.backend.contents[key, revision].model_uri
            assert uri not in self.plane.backend.broken | self.plane.backend.slow

    @invariant()
    def requests_go_to_what_runs(self) -> None:
        for key, weights in self.plane.backend.weights.items():
            assert sum(weights.values()) in (0, 100)
            assert weights.keys() <= self.plane.backend.instances[key].keys()

    def desired_is_observed(self) -> None:
        assert self.running() == []
        with self.plane.store.reading() as tx:
            wanted = {Key(each.env, each.serve): each.wanted for each in targets.everything(tx)}
        for key, revision in wanted.items():
            assert list(self.plane.backend.instances.get(key, {})) == ([revision] if revision else [])
            assert self.plane.backend.serving.get(key) == revision


TestControlPlane = ControlPlaneMachine.TestCase
TestControlPlane.settings = settings(
    max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
    phases=[Phase.generate],
)  # fmt: skip
