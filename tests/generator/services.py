"""What KServe reads out of an InferenceService: its mode, its predictors and what serves in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

MODE = "serving.kserve.io/deploymentMode"
AUTOSCALER = "serving.kserve.io/autoscalerClass"
SCRAPING = "serving.kserve.io/enable-prometheus-scraping"
KNATIVE_CLASS = "autoscaling.knative.dev/class"
KNATIVE_HPA = "hpa.autoscaling.knative.dev"
MAIN, COLLOCATED = "kserve-container", "transformer-container"
FRAMEWORKS = (
    *("sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx"),
    *("huggingface", "pmml", "lightgbm", "paddle"),
)
# What the controller's own storage initializer can fetch.
SCHEMES = (
    *("gs://", "s3://", "pvc://", "file://", "https://", "http://", "hdfs://", "webhdfs://"),
    *("oci://", "oci+native://", "oci+fetch://", "hf://"),
)
QUANTITY = re.compile(r"([+-]?[0-9.]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|)")


def amount(quantity: object) -> float:
    """A Kubernetes quantity as a number."""
    match = QUANTITY.fullmatch(str(quantity))
    if not match:
        return float("nan")
    units = {"": 1.0, "m": 1e-3} | {unit: 1000.0**power for power, unit in enumerate("kMGTPE", 1)}
    units |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}
    return float(match[1]) * units[match[2]]


def annotations_of(document: Document) -> Document:
    annotations: Document = document.get("metadata", {}).get("annotations") or {}
    return annotations


def mode_of(service: Document) -> str:
    """The deployment mode as the webhook sees it, after the old names are changed into the new."""
    mode = str(annotations_of(service).get(MODE, ""))
    return {"RawDeployment": "Standard", "Serverless": "Knative"}.get(mode, mode)


def predictors(service: Document) -> list[Document]:
    """The stable predictor and those of the canaries."""
    spec = service.get("spec", {})
    return [spec.get("predictor", {}), *(entry.get("predictor", {}) for entry in spec.get("canary") or ())]


def laid_over(stable: Document, canary: Document) -> Document:
    """What a canary runs: the stable predictor with the canary's fields laid over it, lists as a whole."""
    merged = {**stable, **canary}
    if stable.get("model") is not None and canary.get("model") is not None:
        merged["model"] = {**stable["model"], **canary["model"]}
    return merged


def implementations(predictor: Document) -> list[Document]:
    """What serves: a framework's field, `model` or custom containers."""
    fields = [predictor[name] for name in (*FRAMEWORKS, "model") if predictor.get(name) is not None]
    containers: list[Document] = list(predictor.get("containers") or ())
    named = [container for container in containers if container.get("name") == MAIN]
    return [*fields, *named] or containers[:1]


def storage_uri(predictor: Document) -> str | None:
    """Where the model is fetched from: `storageUri`, or the variable STORAGE_URI of a custom container."""
    for name in (*FRAMEWORKS, "model"):
        if predictor.get(name) is not None:
            uri: str | None = predictor[name].get("storageUri")
            return uri
    for container in predictor.get("containers") or ():
        if container.get("name") == MAIN:
            return next(
                (str(e.get("value", "")) for e in container.get("env") or () if e["name"] == "STORAGE_URI"), None
            )
    return None
