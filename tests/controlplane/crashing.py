"""A control plane that deploys, changes and undeploys, and may be ended at a failpoint: `crashing.py DATA FIRST_PORT`.

Started again, it repeats its requests with the same keys, as a client does that got no reply.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from controlplane.backends.backend import Key
from controlplane.backends.local import backend as local
from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.ports import PortRange
from controlplane.domain.environments import EnvironmentConfig
from controlplane.domain.revisions import Content
from tests.controlplane.live_plane import LivePlane

KEY = Key("local", "fraud")
CANARY: dict[str, Any] = {
    "deployment_strategy": "canary",
    "deployment_strategy_config": {"steps": [25, 75], "interval": 0.2, "skip_analysis": True},
}
REQUESTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("/serve/deploy-model", "models:/fraud/1", {"flavor": "sklearn"}),
    ("/serve/deploy-model", "models:/fraud/2", {"flavor": "sklearn", **CANARY}),
    ("/serve/undeploy-model", "", {}),
)


def quick_command(serve: str, content: Content, http_port: int, grpc_port: int) -> list[str]:
    if "broken" in content.model_uri:
        return [sys.executable, "-S", "-E", "-c", "raise SystemExit('it is broken')"]
    return [sys.executable, "-S", "-E", str(Path(__file__).with_name("quick_server.py")), str(http_port)]


def quick_backend(data: Path, first_port: int) -> LocalBackend:
    """Processes of a quick server."""
    vars(local)["command"] = quick_command
    return LocalBackend(data, PortRange(first_port, first_port + 200))


def deploy_and_undeploy(plane: LivePlane, serve: str) -> None:
    plane.backend.tend()
    plane.settle(serve)
    for number, (path, uri, fields) in enumerate(REQUESTS):
        body = {"serve_name": serve, "env": plane.env, **({"model_uri": uri} if uri else {}), **fields}
        plane.send("POST", path, body, 202, **{"idempotency-key": f"request {number}"})
        plane.settle(serve)
    plane.backend.tend()


if __name__ == "__main__":
    data = Path(sys.argv[1])
    backend = quick_backend(data, int(sys.argv[2]))
    url = f"sqlite:///{data / 'controlplane.db'}"
    deploy_and_undeploy(LivePlane(url, backend, KEY.env, EnvironmentConfig()), KEY.serve)
