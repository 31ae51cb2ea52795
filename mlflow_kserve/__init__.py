"""The door: the command `mlflow-kserve`, the SDK, and MLflow's deployments plugin.

from mlflow_kserve import Project

function = Project("fraud").new_function("fraud", kind="mlflowserve", path="./model")
run = function.run(action="serve", local_execution=True).wait()
run.invoke([{"amount": 12.5}]).json()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_kserve.client.errors import ApiConflict, ApiError, ApiFailed, ApiRefused, ApiUnreachable
    from mlflow_kserve.sdk.aio import AsyncClient, AsyncFunction, AsyncProject, AsyncRun
    from mlflow_kserve.sdk.project import Client, Function, Project
    from mlflow_kserve.sdk.run import Run
    from mlflow_kserve.sdk.status import NotServing, RunStatus, UnusableFunction

__all__ = [
    "ApiConflict",
    "ApiError",
    "ApiFailed",
    "ApiRefused",
    "ApiUnreachable",
    "AsyncClient",
    "AsyncFunction",
    "AsyncProject",
    "AsyncRun",
    "Client",
    "Function",
    "NotServing",
    "Project",
    "Run",
    "RunStatus",
    "UnusableFunction",
]
HOMES = {
    "client.errors": ("ApiConflict", "ApiError", "ApiFailed", "ApiRefused", "ApiUnreachable"),
    "sdk.aio": ("AsyncClient", "AsyncFunction", "AsyncProject", "AsyncRun"),
    "sdk.project": ("Client", "Function", "Project"),
    "sdk.run": ("Run",),
    "sdk.status": ("NotServing", "RunStatus", "UnusableFunction"),
}


def __getattr__(name: str) -> Any:
    """Imports a name when it is asked for: the command needs none of them."""
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"mlflow_kserve.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
