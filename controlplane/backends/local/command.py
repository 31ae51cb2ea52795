"""The command of a revision's server: the variables of the container that a cluster would run, without it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controlplane.backends.local.ports import HOST
from controlplane.backends.local.processes import MARK, python
from controlplane.backends.secret_files import MissingSecret, secret_text
from controlplane.domain.artifacts import folder_of
from controlplane.domain.problems import FieldProblem
from controlplane.domain.revisions import Content
from controlplane.failpoints import VARIABLE as FAILPOINT
from generator import ServeSpec, SpecError, render

STAND_IN = "models:/model/1"
# What a container needs and a process of this machine does not: where the model was mounted, how a pod ends.
NOT_HERE = (
    "MODEL_URI",
    "MODEL_LOCAL_PATH",
    "MLFLOW_KSERVE_DRAIN_DELAY",
    "MLFLOW_KSERVE_ENV_CACHE",
    "MLFLOW_KSERVE_LOG_FORMAT",
)
MOUNTED = "/etc/mlflow-kserve/"


def container(serve: str, content: Content) -> Mapping[str, Any]:
    """The container that a cluster would run; its model and flavor are stand-ins. Raises SpecError."""
    spec = content.spec(serve) | {"model": STAND_IN, "flavor": "pyfunc", "storage": {"strategy": "server"}}
    for resource in render(ServeSpec.model_validate(spec)):
        if resource["kind"] == "InferenceService":
            container_spec: Mapping[str, Any] = resource["spec"]["predictor"]["containers"][0]
            return container_spec
    raise AssertionError("the generator always renders an InferenceService")


def problems(serve: str, content: Content) -> Iterator[FieldProblem]:
    """Why the content cannot run on this machine."""
    folder = folder_of(content.model_uri)
    if folder is not None and not (folder / "MLmodel").is_file():
        yield FieldProblem(
            "model_uri", "is not a model: the folder has no file MLmodel", "the folder of an MLflow model"
        )
    if content.spec(serve).get("image"):
        yield FieldProblem("spec.image", "is for a cluster: a process of this machine runs in no image", "none here")
    try:
        variables = container(serve, content)["env"]
    except SpecError as error:
        for problem in error.problems:
            yield FieldProblem(f"spec.{problem.where}", problem.message)
        return
    for variable in variables:
        if str(variable.get("value", "")).startswith(MOUNTED):
            yield FieldProblem(
                "spec", f"{variable['name']} is a file of a mounted secret, which a process here has not"
            )


def command(serve: str, content: Content, http_port: int, grpc_port: int) -> list[str]:
    arguments = [argument for argument in container(serve, content).get("args", ()) if "--model-name" not in argument]
    return python(
        "predictors.mlflow", "--model-uri", content.model_uri, "--model-name", serve, "--host", HOST,
        "--http-port", str(http_port), "--grpc-port", str(grpc_port), *arguments,
    )  # fmt: skip


def environ(serve: str, content: Content, secrets: Path) -> dict[str, str]:
    """The environment of a server: that of the control plane, and what the revision says. Raises MissingSecret."""
    variables = {name: value for name, value in os.environ.items() if name not in (MARK, FAILPOINT)}
    if content.environment.tracking_uri:
        variables["MLFLOW_TRACKING_URI"] = content.environment.tracking_uri
    made = container(serve, content)
    for source in made.get("envFrom") or ():
        variables |= whole_secret(source["secretRef"], secrets)
    for variable in made["env"]:
        name = variable["name"]
        if name in NOT_HERE or (name == "MLFLOW_KSERVE_FLAVOR" and "flavor" not in content.infra):
            continue
        variables[name] = variable["value"] if "value" in variable else secret(variable["valueFrom"], secrets, name)
    return variables


def whole_secret(reference: Mapping[str, Any], secrets: Path) -> dict[str, str]:
    """All keys of a secret as variables."""
    folder = secrets / reference["name"]
    if not folder.is_dir():
        if reference.get("optional"):
            return {}
        raise MissingSecret(f"there is no secret {reference['name']}, whose keys are to become variables")
    return {file.name: file.read_text().rstrip("\n") for file in sorted(folder.iterdir()) if file.is_file()}


def secret(source: Mapping[str, Any], secrets: Path, variable: str) -> str:
    reference = source.get("secretKeyRef") or source["configMapKeyRef"]
    try:
        return secret_text(secrets, reference["name"], reference["key"])
    except MissingSecret as error:
        raise MissingSecret(f"{variable}: {error}") from None
