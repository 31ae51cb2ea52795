"""Projects and functions: `Project("fraud").new_function(…).run(…)`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Unpack

from mlflow_kserve.client.api import ApiClient
from mlflow_kserve.client.login import current_login
from mlflow_kserve.sdk.functions import DEFAULT_MODEL_NAME, FunctionSpec, Kind, RunOptions, check_options
from mlflow_kserve.sdk.local import LocalServer
from mlflow_kserve.sdk.run import Run
from mlflow_kserve.sdk.status import UnusableFunction
from mlflow_kserve.sdk.targets import DeployedServe, RunTarget

SERVE = "serve"
DEFAULT_PROJECT = "default"


def checked_action(action: str) -> None:
    if action != SERVE:
        raise UnusableFunction(f"action is {action!r}: expected {SERVE!r}")


def target_of(spec: FunctionSpec, options: RunOptions, env: str, local_execution: bool) -> RunTarget:
    """Where it is served; raises UnusableFunction."""
    check_options(options)
    return LocalServer(spec, options) if local_execution else DeployedServe(spec, options, env)


class Client:
    """A control plane: the one at the URL, or else that of `mlflow-kserve login`, or this machine's.

    Nothing is asked of it until something is run there.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, env: str | None = None) -> None:
        login = current_login(url, token)
        self.api = ApiClient(login)
        self.env = env or login.env
        """The environment that functions run in."""

    def project(self, name: str) -> Project:
        return Project(name, self)

    def new_function(self, name: str, kind: Kind, path: str, **more: Any) -> Function:
        """A function of the project `default`; see `Project.new_function`."""
        return self.project(DEFAULT_PROJECT).new_function(name, kind, path, **more)


class Project:
    """A name that groups functions: the space of their serves."""

    def __init__(self, name: str, client: Client | None = None) -> None:
        self.name = name
        self._client = client

    @property
    def client(self) -> Client:
        self._client = self._client or Client()
        return self._client

    def new_function(
        self,
        name: str,
        kind: Kind,
        path: str,
        *,
        model_name: str = DEFAULT_MODEL_NAME,
        image: str | None = None,
        description: str = "",
    ) -> Function:
        """A function that serves a model: a folder of this machine, or a URI. Raises UnusableFunction."""
        return Function(FunctionSpec(name, kind, path, model_name, image, self.name, description), self)


@dataclass(frozen=True)
class Function:
    spec: FunctionSpec
    project: Project = field(repr=False)

    def run(
        self,
        action: str = SERVE,
        *,
        local_execution: bool = False,
        env: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Begins to serve the function: as a process of this machine, or in an environment of the control plane.

        The options are those of RunOptions; all but envs are about pods, and change nothing on this machine. Raises
        UnusableFunction, and ApiError if the control plane refuses it.
        """
        checked_action(action)
        client = None if local_execution else self.project.client
        target = target_of(self.spec, options, env or (client.env if client else ""), local_execution)
        return Run(self.spec, target, client.api if client else None).resume()
