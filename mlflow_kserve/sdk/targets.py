"""Where a run serves: each deed as steps, so that both kinds of runs share them."""

from __future__ import annotations

from typing import Protocol

from mlflow_kserve.client import calls
from mlflow_kserve.client.errors import ApiConflict
from mlflow_kserve.client.flows import UNDER_WAY, Steps, deploy_with, wait_for
from mlflow_kserve.client.replies import OperationReply, StatusReply
from mlflow_kserve.sdk.functions import FunctionSpec, RunOptions, overlay_of, variables_of
from mlflow_kserve.sdk.status import RunStatus

CHANGE_SECONDS = 660.0
"""Longer than a change may take until the control plane ends it."""


class RunTarget(Protocol):
    """A place that serves one function."""

    served_name: str
    """The name of the model at its address."""

    def start(self) -> Steps[None]: ...

    def observe(self, wait: float) -> Steps[RunStatus]:
        """How it is, at the latest after so many seconds, or as soon as it has settled."""
        ...

    def logs(self, lines: int) -> Steps[str]: ...

    def stop(self) -> Steps[None]: ...


class DeployedServe:
    """A serve of a control plane."""

    def __init__(self, spec: FunctionSpec, options: RunOptions, env: str) -> None:
        """Raises UnusableFunction."""
        self.served_name, self.env = spec.name, env
        self.serve = {"name": spec.name, "space": spec.project, "description": spec.description}
        self.infra = {"spec": overlay_of(options, spec.image)}
        self.model = {
            "serve_name": spec.name,
            "model_uri": spec.model_uri(),
            "env": env,
            "environment_variables": variables_of(options),
        }
        self.operation: OperationReply | None = None

    def start(self) -> Steps[None]:
        begun = yield from deploy_with(self.serve, self.infra, self.model, CHANGE_SECONDS)
        self.operation = begun["operation"]

    def observe(self, wait: float) -> Steps[RunStatus]:
        if self.operation is None:
            return RunStatus("CREATED")
        if self.operation["state"] in UNDER_WAY:
            fresh = yield calls.get_operation(self.operation["id"])
            self.operation = yield from wait_for(fresh, wait)
        status: StatusReply = yield calls.get_status(self.served_name, self.env)
        return status_of(self.operation, status)

    def logs(self, lines: int) -> Steps[str]:
        revision = self.operation["revision"] if self.operation else None
        text: str = yield calls.get_logs(self.served_name, self.env, revision, lines)
        return text

    def stop(self) -> Steps[None]:
        """Undeploys it; one that is being deployed is given up."""
        if self.operation is not None and self.operation["state"] in UNDER_WAY:
            try:
                yield calls.abort_operation(self.operation["id"])
            except ApiConflict:
                pass  # it has ended meanwhile
        status: StatusReply = yield calls.get_status(self.served_name, self.env)
        if status["desired_revision"] is None:
            return
        begun = yield calls.undeploy(self.served_name, self.env)
        self.operation = yield from wait_for(begun["operation"], CHANGE_SECONDS)


def status_of(operation: OperationReply, status: StatusReply) -> RunStatus:
    """The state of a run by the change that it began, and what there is of its serve."""
    if operation["state"] == "WAITING":
        return RunStatus("PENDING", message="another person has to approve it")
    if operation["state"] == "RUNNING":
        return RunStatus("PENDING", message=progress(status))
    if operation["state"] != "SUCCEEDED":
        return RunStatus("ERROR", message=operation["message"] or f"the deployment is {operation['state'].lower()}")
    if status["desired_revision"] is None:
        return RunStatus("STOPPED")
    if status["status"] in ("READY", "IDLE") and status["url"]:
        return RunStatus("RUNNING", {"url": status["url"]})
    return RunStatus("PENDING", message=status["last_error"] or progress(status))


def progress(status: StatusReply) -> str:
    names = ((pod.get("name") or f"revision {pod['revision']}", pod["phase"]) for pod in status["pods"] or [])
    return ", ".join(f"{name} is {phase}" for name, phase in names)
