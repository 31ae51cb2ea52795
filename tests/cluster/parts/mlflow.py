"""An MLflow tracking server with a registry, as a process of the node; in the cluster it is `mlflow.mlflow.svc:5000`.

`python -m tests.cluster.parts.mlflow stop` and `… start`, inside the sandbox, take it away and bring it back.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.cluster.parts.api import apply, namespace, service_of_process
from tests.cluster.parts.places import MLFLOW_PORT, STATE
from tests.cluster.parts.processes import start, stop, wait_ready

HOME = STATE / "mlflow"


def mlflow() -> None:
    apply([namespace("mlflow"), *service_of_process("mlflow", "mlflow", http=(5000, MLFLOW_PORT))])
    is_up()


def is_up() -> None:
    wait_ready("mlflow", f"http://127.0.0.1:{MLFLOW_PORT}/health")


def serve() -> None:
    """Starts the server with what it stored before."""
    HOME.mkdir(exist_ok=True)
    start(
        "mlflow", sys.executable, "-m", "mlflow", "server", "--host", "0.0.0.0", "--port", str(MLFLOW_PORT),
        "--workers", "1", "--allowed-hosts", "*", "--backend-store-uri", f"sqlite:///{HOME}/store.db",
        "--artifacts-destination", str(HOME / "artifacts"),
        env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "stop":
        stop("mlflow")
    else:
        serve()
        is_up()
