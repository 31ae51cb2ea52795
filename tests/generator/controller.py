"""What KServe 0.21 admits and then does not do, or does otherwise than the document says; written from its source."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.generator.services import (
    AUTOSCALER,
    MAIN,
    MODE,
    SCRAPING,
    Document,
    annotations_of,
    laid_over,
    mode_of,
    predictors,
)


def ignored(service: Document) -> list[str]:
    """What the InferenceService says and KServe does not do."""
    ignored_parts = [*_ignored_mode(service), *_ignored_canaries(service)]
    standard = mode_of(service) == "Standard"
    stable, *canaries = predictors(service)
    for predictor in (stable, *(laid_over(stable, canary) for canary in canaries)):
        ignored_parts += _ignored_always(predictor)
    ignored_parts += _ignored_standard(service, stable) if standard else _ignored_knative(stable)
    return ignored_parts


def _ignored_mode(service: Document) -> Iterator[str]:
    notes = annotations_of(service)
    match notes.get(MODE):
        case None:
            yield f"{MODE} is missing: the cluster's configuration decides"
        case "RawDeployment" | "Serverless" as old:
            yield f"{MODE}: {old} is an old name"
        case "Standard" | "Knative" | "ModelMesh":
            pass
        case other:
            yield f"{MODE}: {other!r} is unknown, so the cluster's configuration decides"
    for name in ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale"):
        if name in notes:
            yield f"{name} is dropped: minReplicas and maxReplicas count"


def _ignored_canaries(service: Document) -> Iterator[str]:
    stable, *canaries = predictors(service)
    for canary in canaries:
        if canary.get("containers") and stable.get("model") is not None:
            yield "spec.canary: the container is merged into a predictor that keeps the stable one's model"
        if canary.get("model") is not None and stable.get("containers"):
            yield "spec.canary: the model is merged into a predictor that keeps the stable one's containers"
        if (canary.get("model") or {}).get("name", MAIN) != MAIN:
            yield f"spec.canary: model.name names the container, which is {MAIN}"
        merged = laid_over(stable, canary)
        if "storageUris" in merged:
            yield "spec.canary: storageUris are not fetched for it"
        for field in ("logger", "batcher"):
            if field in merged:
                yield f"spec.canary: its Service leads past the {field}"
        # A predictor's own annotations win.
        if {**annotations_of(service), **canary.get("annotations", {})}.get(AUTOSCALER) == "keda":
            yield "spec.canary: with the class keda it gets a ScaledObject with no trigger, which is refused"


def _ignored_always(predictor: Document) -> Iterator[str]:
    model, containers = predictor.get("model"), predictor.get("containers") or ()
    if "scaleMetricType" in predictor:
        yield "scaleMetricType: nothing reads it"
    if model is not None:
        protocol = model.get("protocolVersion")
        if protocol is None and model.get("modelFormat", {}).get("name") == "mlflow":
            yield "protocolVersion is missing, which means v1: none of KServe's runtimes serves mlflow so"
        if "batcher" in predictor and protocol not in {None, "v1"}:
            yield f"batcher: it reads V1 requests only, and the protocol is {protocol}"
    elif len(containers) > 1:
        names = [container.get("name") for container in containers]
        if MAIN not in names:
            yield f"containers: none is called {MAIN}"
        elif names[0] != MAIN:
            yield f"containers: {names[0]} is overwritten, since {MAIN} is not the first"


def _ignored_standard(service: Document, predictor: Document) -> Iterator[str]:
    notes = annotations_of(service)
    pod_notes = {**notes, **predictor.get("annotations", {})}
    if "canaryTrafficPercent" in predictor:
        yield "canaryTrafficPercent: Knative only"
    if "containerConcurrency" in predictor:
        yield "containerConcurrency: Knative only"
    if pod_notes.get(SCRAPING) == "true":
        yield f"{SCRAPING}: it announces port 9091, where nothing listens in Standard"
    autoscaler = notes.get(AUTOSCALER, "hpa")
    rules = [field for field in ("scaleMetric", "scaleTarget", "autoScaling") if field in predictor]
    if autoscaler in {"none", "external"}:
        yield from (f"{field}: the autoscaler class is {autoscaler}" for field in rules)
        if "maxReplicas" in predictor:
            yield f"maxReplicas: the autoscaler class is {autoscaler}"
    if autoscaler == "external" and "minReplicas" in predictor and not service["spec"].get("canary"):
        yield "minReplicas: the autoscaler class is external"
    metrics = predictor.get("autoScaling", {}).get("metrics") or ()
    behavior = predictor.get("autoScaling", {}).get("behavior") or {}
    if autoscaler == "hpa":
        if predictor.get("minReplicas") == 0:
            yield "minReplicas: 0 becomes 1 with an HPA"
        if "autoScaling" in predictor:
            yield from (f"{field}: autoScaling replaces it" for field in rules if field != "autoScaling")
            yield from (
                f"autoScaling: {m['type']} is skipped by the HPA" for m in metrics if m.get("type") != "Resource"
            )
            if behavior:
                yield "autoScaling.behavior: the HPA is made without it"
        elif predictor.get("scaleMetric") in {"concurrency", "rps"}:
            yield f"scaleMetric: {predictor['scaleMetric']} makes an HPA with no metric"
        elif predictor.get("scaleMetric") == "memory" and "scaleTarget" not in predictor:
            yield "scaleMetric: memory with no scaleTarget makes an HPA with no metric"
    if autoscaler == "keda":
        if "scaleTarget" in predictor:
            yield "scaleTarget: KEDA reads autoScaling only"
        if not metrics:
            yield "autoScaling: KEDA refuses a ScaledObject with no trigger"
        for direction, rules_of in behavior.items():
            if rules_of.keys() - {"stabilizationWindowSeconds"}:
                yield f"autoScaling.behavior.{direction}: only stabilizationWindowSeconds reaches KEDA"
        for metric in metrics:
            if metric.get("type") == "External" and not metric.get("external", {}).get("metric", {}).get(
                "serverAddress"
            ):
                yield "autoScaling: KEDA refuses a trigger with no serverAddress"


def _ignored_knative(predictor: Document) -> Iterator[str]:
    if "autoScaling" in predictor:
        yield "autoScaling: Standard only"
    if "deploymentStrategy" in predictor:
        yield "deploymentStrategy: Standard only"


def container_ignored(container: Document) -> list[str]:
    """What a ClusterStorageContainer says that does not work; no webhook looks at it."""
    spec = container.get("spec", {})
    inner, problems = spec.get("container", {}), []
    if inner.get("name") != "storage-initializer":
        problems.append("spec.container.name: the status and the injector look for storage-initializer")
    if "args" in inner:
        problems.append("spec.container.args: they replace the URI and the folder that KServe gives")
    for index, entry in enumerate(spec.get("supportedUriFormats") or ()):
        place = f"spec.supportedUriFormats[{index}]"
        if entry.get("prefix") and entry.get("regex"):
            problems.append(f"{place}: the regex is not looked at beside a prefix")
        elif not entry.get("prefix") and not entry.get("regex"):
            problems.append(f"{place}: matches nothing")
    return problems


def fetches(container: Document, uri: str) -> bool:
    """Whether a ClusterStorageContainer takes the URI."""
    if container.get("disabled") or container["spec"].get("workloadType", "initContainer") != "initContainer":
        return False
    return any(
        uri.startswith(entry["prefix"]) if entry.get("prefix") else bool(re.search(entry.get("regex") or r"(?!)", uri))
        for entry in container["spec"].get("supportedUriFormats") or ()
    )
