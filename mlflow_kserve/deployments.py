"""MLflow's deployments: `mlflow deployments create -t kserve --name fraud -m models:/fraud/7`.

A deployment is a serve of a control plane. An endpoint, in MLflow's words, is an environment there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    PERMISSION_DENIED,
    RESOURCE_CONFLICT,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)

from mlflow_kserve.client import calls
from mlflow_kserve.client.api import ApiClient
from mlflow_kserve.client.errors import ApiConflict, ApiError, ApiRefused, ApiUnreachable
from mlflow_kserve.client.flows import Steps, all_pages, ensure_serve, set_infra, wait_for
from mlflow_kserve.client.login import current_login
from mlflow_kserve.client.replies import BegunReply, StatusReply

if TYPE_CHECKING:
    from requests import Response

WAIT_SECONDS = 660.0
PREDICT_SECONDS = 300.0
PROBE_SECONDS = 10.0
UNKNOWN = "unknown"
BODIES = {"inputs", "instances", "dataframe_split", "dataframe_records", "messages", "prompt", "input"}
"""Fields by which the server knows a body that is complete."""
NUMBERS = {"cores", "memory", "min_replicas", "max_replicas"}
FLAGS = {"wait", "forget"}
JSON_FIELDS = {"environment_variables", "deployment_strategy_config", "spec", "quotas"}
HELP = f"""\
Targets
  kserve          the control plane of `mlflow-kserve login` or MLFLOW_KSERVE_API_URL, and its environment
  kserve:/ENV     an environment of it; --endpoint ENV says the same for one command

Settings of create and update (-C NAME=VALUE)
  cores, memory (GiB), min_replicas, max_replicas, node_capacity (spot, ondemand), storage_strategy
  artifact_version, follow (hot, off), reason
  environment_variables   a JSON object
  deployment_strategy     rolling, canary, linear, blue-green; deployment_strategy_config is a JSON object
  spec                    a JSON object in the words of the spec, such as {{"workers": 2}}
  wait=false              returns once the change has begun
  timeout=SECONDS         how long it is waited for ({WAIT_SECONDS:g})

Settings of delete
  forget=true             deletes the serve with its history too, if it is deployed nowhere else

An endpoint is an environment. Its settings are those of the API, such as namespace, domain_suffix and tracking_uri.
run-local serves the model on this machine, in the foreground; its settings are flags of the server: -C http_port=8080
"""


def target_help() -> str:
    """What `mlflow deployments help -t kserve` prints."""
    return HELP


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Serves the model on this machine until it is ended."""
    from predictors import mlflow as server

    settings = {"model-uri": model_uri, "model-name": name, "flavor": flavor, **(config or {})}
    flags = [text for key, value in settings.items() if value is not None for text in (flag_of(key), str(value))]
    server.main(flags, prog="mlflow deployments run-local")


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class KServeDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]  # MLflow's types are not read
    """Deploys to an environment of a control plane."""

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        with as_mlflow_errors():
            login = current_login()
            self.client = ApiClient(login)
        self.env = target_uri.partition(":")[2].strip("/") or login.env

    # -- deployments --------------------------------------------------------------------------------------------

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploys a model, and waits until it answers."""
        env = endpoint or self.env
        if self.status_or_none(name, env) is not None:
            fail(f"there is a deployment {name} in {env} already: update changes it", RESOURCE_CONFLICT)
        return self.deploy(name, env, model_uri, flavor, settings_of(config))

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploys another model, or changes what the config names; nothing else changes."""
        env = endpoint or self.env
        status = self.require_status(name, env)
        return self.deploy(name, env, model_uri or str(status["model_uri"]), flavor, settings_of(config))

    def deploy(self, name: str, env: str, model_uri: str, flavor: str | None, config: dict[str, Any]) -> dict[str, Any]:
        waits, timeout = config.pop("wait", True), float(config.pop("timeout", WAIT_SECONDS))
        spec = {**config.pop("spec", {})}
        if flavor:
            fail("the flavor is that of the MLmodel file: expected no --flavor", INVALID_PARAMETER_VALUE)
        fields = {"serve_name": name, "model_uri": model_uri, "env": env, **config}

        def steps() -> Steps[None]:
            if spec:
                yield from said_infra(name, env, spec, timeout)
            begun: BegunReply = yield calls.deploy_model(fields)
            if waits:
                operation = yield from wait_for(begun["operation"], timeout)
                if operation["state"] != "SUCCEEDED":
                    message = operation["message"] or f"it is still under way after {timeout:g} s"
                    fail(f"{name} in {env} is not deployed: {message}", INVALID_STATE)

        with as_mlflow_errors():
            self.client.follow(steps())
        status = self.require_status(name, env)
        return {"name": name, "flavor": flavor_of(name, status["url"]), "endpoint": env}

    def delete_deployment(
        self, name: str, config: Mapping[str, Any] | None = None, endpoint: str | None = None
    ) -> None:  # fmt: skip
        """Undeploys it, and waits until it has gone; one that is not deployed stays so."""
        env = endpoint or self.env
        settings = settings_of(config)
        if self.status_or_none(name, env) is None:
            return
        with as_mlflow_errors():
            begun = self.client.send(calls.undeploy(name, env))
            if settings.get("wait", True):
                self.client.follow(wait_for(begun["operation"], float(settings.get("timeout", WAIT_SECONDS))))
            if settings.get("forget", False):
                self.client.send(calls.delete_serve(name))

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        env = endpoint or self.env
        with as_mlflow_errors():
            serves = self.client.follow(all_pages(calls.list_serves()))
        return [dict(serve) for serve in serves if env in serve["environments"]]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        status = self.require_status(name, endpoint or self.env)
        return {"name": name, **status}

    # -- what deployments answer --------------------------------------------------------------------------------

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:  # fmt: skip
        """The predictions of MLflow's own route, /invocations; without a name, of the one serve of the environment."""
        env = endpoint or self.env
        name = deployment_name or self.only_deployment(env)
        return PredictionsResponse.from_json(text_of(name, self.ask(name, env, "/invocations", payload(inputs))))

    def explain(self, deployment_name: str | None = None, df: Any = None, endpoint: str | None = None) -> Any:
        """The explanations of a model that has an explainer; MLflow's own refusal for others."""
        env = endpoint or self.env
        name = deployment_name or self.only_deployment(env)
        reply = self.ask(name, env, f"/v1/models/{quote(name, safe='')}:explain", instances(df))
        if reply.status_code == HTTPStatus.NOT_IMPLEMENTED:
            return super().explain(name, df, endpoint)
        return json.loads(text_of(name, reply))

    def ask(self, name: str, env: str, path: str, body: bytes) -> Response:
        import requests

        url = self.require_status(name, env)["url"]
        if url is None:
            fail(f"{name} in {env} has no address yet: it is not ready", INVALID_STATE)
        headers = {"content-type": "application/json"}
        try:
            return requests.post(url + path, body, headers=headers, timeout=PREDICT_SECONDS)
        except requests.RequestException as error:
            fail(f"{name} does not answer at {url}: {error}", TEMPORARILY_UNAVAILABLE)

    def only_deployment(self, env: str) -> str:
        names = [each["name"] for each in self.list_deployments(env)]
        if len(names) != 1:
            fail(f"{env} has {len(names)} deployments: expected --name", INVALID_PARAMETER_VALUE)
        return str(names[0])

    # -- endpoints: environments --------------------------------------------------------------------------------

    def create_endpoint(self, name: str, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with as_mlflow_errors():
            return dict(self.client.send(calls.create_environment({**settings_of(config), "name": name})))

    def update_endpoint(self, endpoint: str, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with as_mlflow_errors():
            return dict(self.client.send(calls.change_environment(endpoint, settings_of(config))))

    def delete_endpoint(self, endpoint: str) -> None:
        with as_mlflow_errors():
            self.client.send(calls.delete_environment(endpoint))

    def list_endpoints(self) -> list[dict[str, Any]]:
        with as_mlflow_errors():
            return [dict(each) for each in self.client.follow(all_pages(calls.list_environments()))]

    def get_endpoint(self, endpoint: str) -> dict[str, Any]:
        with as_mlflow_errors():
            return dict(self.client.send(calls.get_environment(endpoint)))

    # -- status -------------------------------------------------------------------------------------------------

    def status_or_none(self, name: str, env: str) -> StatusReply | None:
        """None if it is not deployed."""
        with as_mlflow_errors():
            try:
                status = self.client.send(calls.get_status(name, env))
            except ApiRefused as error:
                if error.status == 404 and "no serve" in str(error):
                    return None
                raise
        return None if status["desired_revision"] is None else status

    def require_status(self, name: str, env: str) -> StatusReply:
        status = self.status_or_none(name, env)
        if status is None:
            fail(f"there is no deployment {name} in {env}", RESOURCE_DOES_NOT_EXIST)
        return status


def said_infra(name: str, env: str, spec: Mapping[str, Any], seconds: float) -> Steps[None]:
    """Lays a spec over the infrastructure; what is deployed is deployed again first."""
    yield from ensure_serve({"name": name})
    changed = yield from set_infra(name, env, {"spec": spec})
    if changed["deployment"] is not None:
        yield from wait_for(changed["deployment"]["operation"], seconds)


def settings_of(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The config with numbers and objects for the texts of the command line."""
    return {name: typed(name, value) for name, value in (config or {}).items()}


def typed(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name in NUMBERS and value.isdigit():
        return int(value)
    if name in FLAGS:
        return value.lower() not in ("false", "0", "no")
    if name in JSON_FIELDS:
        try:
            return json.loads(value)
        except ValueError as error:
            fail(f"{name} is not JSON: {error}", INVALID_PARAMETER_VALUE)
    return value


def payload(inputs: Any) -> bytes:
    """The body that MLflow's server would get for these inputs."""
    if hasattr(inputs, "columns") and hasattr(inputs, "to_json"):
        split = json.loads(inputs.to_json(orient="split", date_format="iso", double_precision=15))
        return json.dumps({"dataframe_split": {name: split[name] for name in ("columns", "data")}}).encode()
    if hasattr(inputs, "tolist"):
        inputs = inputs.tolist()
    is_body = isinstance(inputs, Mapping) and BODIES & set(inputs)
    return json.dumps(inputs if is_body else {"inputs": inputs}).encode()


def instances(df: Any) -> bytes:
    """The body in V1 of a DataFrame."""
    return f'{{"instances": {df.to_json(orient="records", date_format="iso", double_precision=15)}}}'.encode()


def text_of(name: str, reply: Response) -> str:
    if not reply.ok:
        code = INVALID_PARAMETER_VALUE if reply.status_code < 500 else INTERNAL_ERROR
        fail(f"{name} refuses the request ({reply.status_code}): {reply.text[:1000]}", code)
    return reply.text


def flavor_of(name: str, url: str | None) -> str:
    """The flavor that serves the model, as its server says; unknown until it answers."""
    import requests

    try:
        properties = requests.get(f"{url}/v2/models/{name}", timeout=PROBE_SECONDS).json()["properties"]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return UNKNOWN
    return str(properties.get("flavor", UNKNOWN)) if isinstance(properties, Mapping) else UNKNOWN


@contextmanager
def as_mlflow_errors() -> Iterator[None]:
    """Errors of the control plane as MLflow's."""
    try:
        yield
    except ApiUnreachable as error:
        fail(str(error), TEMPORARILY_UNAVAILABLE)
    except ApiConflict as error:
        fail(str(error), RESOURCE_CONFLICT)
    except ApiRefused as error:
        codes = {401: PERMISSION_DENIED, 403: PERMISSION_DENIED, 404: RESOURCE_DOES_NOT_EXIST}
        fail(str(error), codes.get(error.status, INVALID_PARAMETER_VALUE if error.status < 500 else INTERNAL_ERROR))
    except (ApiError, ValueError) as error:
        fail(str(error), INVALID_PARAMETER_VALUE)


def fail(message: str, code: int) -> NoReturn:
    raise MlflowException(message, error_code=code) from None
