"""A store with many serves, filled without the loops."""

from __future__ import annotations

from controlplane.domain.deployments import DeploymentConfig
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.revisions import Content
from controlplane.domain.serves import NewServe
from controlplane.store import serves, targets
from controlplane.store.database import Store


def fill(store: Store, count: int, env: str = "local") -> None:
    """Serves that are deployed, each with one revision."""
    with store.writing() as tx:
        now = store.now()
        for number in range(count):
            name = f"serve-{number:04}"
            serves.add(tx, now, NewServe(name=name, space="many"))
            content = Content(
                artifact_version="v1", model_uri=f"models:/{name}/1", infra={}, deployment=DeploymentConfig(),
                environment=EnvironmentConfig(),
            )  # fmt: skip
            target = targets.ensured(tx, now, name, env)
            targets.add_revision(tx, now, target, content, "test", "", None)
            targets.change(tx, now, target, wanted=1, active=1, last_revision=1)
