"""Rules about the model: who can fetch it, which image can load it, and where its features come from."""

from __future__ import annotations

from collections.abc import Iterator

from generator.facts import mistake_in
from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.spec.values import seconds
from predictors.flavor import BY_NAME
from predictors.uris import ModelURI

UV_IMAGE = "onnx"
"""The family of images that has uv."""


def storage(plan: ManifestPlan) -> Iterator[Problem]:
    """Whether the chosen strategy can fetch the model."""
    spec = plan.spec
    for where, uri in (("model", spec.model), *([("canary.model", plan.canary.uri)] if plan.canary else [])):
        if "://" not in uri and not ModelURI.parse(uri).is_mlflow:
            yield problem(
                where, f"{uri!r} is not on the cluster: expected a URI such as models:/NAME/VERSION, s3://… or pvc://…"
            )
        if mistake := mistake_in(uri):
            yield problem(where, f"{uri!r} {mistake}")
        if uri.startswith("pvc://") and plan.strategy != "container":
            yield problem("storage.strategy", f"only KServe can mount {uri}: expected container, not {plan.strategy}")
    if spec.storage.storage_container and plan.strategy != "container":
        yield problem("storage.storage_container", f"is not used with storage.strategy: {plan.strategy}")
    if spec.predictor == "container" and spec.runtime:
        yield problem("runtime", "is not used by predictor: container: expected predictor: runtime with it")
    for name, is_set in (
        ("interval", spec.reload.interval and seconds(spec.reload.interval)),
        ("webhook_secret", spec.reload.webhook_secret),
    ):
        if is_set and ModelURI.parse(spec.model).is_moving and not plan.knows_registry:
            yield problem(
                f"reload.{name}",
                "the predictor needs the registry to follow an alias: expected tracking.uri or tracking.secret",
            )


def candidate(plan: ManifestPlan) -> Iterator[Problem]:
    """Whether the predictor can fetch a candidate, and load it beside the model."""
    spec = plan.spec
    if spec.candidate is None:
        return
    if not plan.knows_registry:
        yield problem(
            "candidate.model", "the predictor needs the registry to fetch it: expected tracking.uri or tracking.secret"
        )
    if ModelURI.parse(spec.candidate.model).is_unversioned:
        yield problem("candidate.model", "names no version: expected models:/NAME@ALIAS or models:/NAME/3")
    if spec.candidate.model == spec.model:
        yield problem("candidate.model", "is the model itself: expected another version or alias")


def images(plan: ManifestPlan) -> Iterator[Problem]:
    """Packages that the project's own images lack; other images are not known."""
    spec = plan.spec
    models = [(plan.stable, spec.image)]
    if plan.canary and spec.canary:
        models.append((plan.canary, spec.canary.image or spec.image))
    for served, image in models:
        if image or spec.runtime:
            continue
        if spec.dependencies.env_manager == "uv" and BY_NAME[served.flavor].image != UV_IMAGE:
            yield problem(
                "dependencies.env_manager",
                f"the image for {served.flavor} has no uv, only the one for pyfunc and onnx has: expected virtualenv, "
                "or an image with uv",
            )
        if plan.strategy == "server" and not ModelURI.parse(served.uri).is_mlflow:
            yield problem(
                "storage.strategy",
                f"the predictor's image has no client for {served.uri}: expected emptydir, pvc or container, or "
                "an image with one",
            )


def features(plan: ManifestPlan) -> Iterator[Problem]:
    """A model that looks features up needs a source for them to start."""
    spec = plan.spec
    served = [plan.stable, *([plan.canary] if plan.canary else [])]
    declared = next((one.features for one in served if one.features), None)
    names = [*spec.env, *(arg.partition("=")[0].lstrip("-").replace("-", "_") for arg in spec.args)]
    elsewhere = any(name.lower().removeprefix("mlflow_kserve_").startswith("feast") for name in names)
    if declared and spec.feast is None and not elsewhere:
        yield problem("feast", f"the model gets {declared} from Feast: expected server_url, or repo_path")
    own = spec.image or spec.runtime or spec.dependencies.env_manager != "local"
    if spec.feast and spec.feast.repo_path and not own:
        yield problem(
            "feast.repo_path", "the project's images do not contain Feast: expected server_url, or an image with it"
        )


RULES = (storage, candidate, images, features)
