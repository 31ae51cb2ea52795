"""What a full look costs: `python -m tests.controlplane.many_serves [SERVES]`, in three environments of a cluster.

The cluster's replies lie in memory as JSON; everything else is as it is.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from controlplane.backends.backend import Key
from controlplane.backends.kserve.api import ClusterAway, KubernetesApi
from controlplane.backends.kserve.backend import KServeBackend
from controlplane.backends.kserve.kinds import ResourceKind, kind_of
from controlplane.changes.context import ChangeContext
from controlplane.changes.environments import adopted
from controlplane.domain.environments import EnvironmentConfig
from controlplane.loops.loops import RENEW_INTERVAL, Loops
from controlplane.store import environments, targets
from controlplane.store.database import Store
from controlplane.store.events import Actor
from tests.controlplane.backends.kserve.serves import content, deployment, ready_serve, service_of

ENVIRONMENTS = ("dev", "staging", "prod")


class RecordedApi(KubernetesApi):
    """Replies that were recorded, one for each list."""

    def __init__(self) -> None:
        self.replies: dict[str, bytes] = {}

    def kinds(self, wanted: tuple[ResourceKind, ...]) -> list[ResourceKind]:
        return list(wanted)

    def listed(self, kind: ResourceKind, namespace: str, selector: str) -> list[Any]:
        return list(orjson.loads(self.replies.get(kind.path(namespace), b"[]")))

    def watch(self, kind: ResourceKind, namespace: str, selector: str) -> Iterator[Any]:
        raise ClusterAway("nothing changes")

    def record(self, namespace: str, keys: list[Key]) -> None:
        lists: defaultdict[str, list[Any]] = defaultdict(list)
        for key in keys:
            _, live = ready_serve(1, content(infra={"replicas": {"min": 2, "max": 4}}, namespace=namespace), key)
            workload = deployment(service_of(list(live.objects)), 2, 2, 2, 2)
            labels = service_of(list(live.objects))["metadata"]["labels"]
            workload["metadata"] |= {"name": f"{key.serve}-predictor", "labels": labels}
            for each in (*live.objects, workload):
                lists[kind_of(each).path(namespace)].append(each)
        self.replies |= {path: orjson.dumps(items) for path, items in lists.items()}


def measure(folder: Path, count: int) -> None:
    api, store = RecordedApi(), Store(f"sqlite:///{folder / 'many.db'}")
    store.migrate()
    backends = {env: KServeBackend(api, env) for env in ENVIRONMENTS}
    configs = {env: EnvironmentConfig(backend="kserve", namespace=env) for env in ENVIRONMENTS}
    for env in ENVIRONMENTS:
        api.record(
            env, [Key(env, f"serve-{number}") for number in range(count) if number % 3 == ENVIRONMENTS.index(env)]
        )
    with store.writing() as tx:
        context = ChangeContext(tx, store.now(), Actor("test", "test"), lambda config: backends[config.namespace])
        for env, config in configs.items():
            environments.add(tx, store.now(), env, config)
            for each in backends[env].deployed(env):
                adopted(context, environments.get(tx, env), each)
    loops = Loops(store, lambda config: backends[config.namespace], "one", folder)
    loops.renew()
    for _ in range(3):
        began, wall = time.process_time(), time.monotonic()
        loops.resync()
        outcomes: defaultdict[str, int] = defaultdict(int)
        while len(loops.queue):
            key = loops.queue.get()
            assert key is not None
            outcomes["again" if loops.reconcile(key)[1] is not None else "settled"] += 1
            loops.queue.done(key)
            if time.monotonic() > loops.lease_until - RENEW_INTERVAL:
                loops.renew()
        cpu, seconds = time.process_time() - began, time.monotonic() - wall
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count} serves: {cpu:.1f} s of CPU, {seconds:.1f} s, {memory:.0f} MB, {dict(outcomes)}")
    for backend in backends.values():
        backend.close()
    with store.reading() as tx:
        assert len(targets.everything(tx)) == count


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
