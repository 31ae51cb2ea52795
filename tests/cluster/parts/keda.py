"""KEDA's operator and its adapter of metrics, in pods as its release runs them; without its admission webhooks."""

from __future__ import annotations

import yaml

from tests.cluster.parts.api import Document, apply, kubectl
from tests.cluster.parts.node import image, image_of
from tests.cluster.parts.programs import folder, program

IMAGES = {"keda-operator": "operator", "keda-metrics-apiserver": "adapter"}
"""Programs by the Deployments that run them."""


def keda() -> None:
    for name, file in IMAGES.items():
        image_of(name, program("keda", file))
    release = folder("keda", "github.com/kedacore/keda/v2") / "config" / "default"
    made = list(yaml.load_all(kubectl("kustomize", str(release)), Loader=yaml.CSafeLoader))
    apply(_adapted(one) for one in made if one["kind"] != "ValidatingWebhookConfiguration")
    kubectl("wait", "--for=condition=Available", "deployments", *IMAGES, "--namespace", "keda", "--timeout=180s")


def _adapted(document: Document) -> Document:
    if document["kind"] == "Deployment":
        name = document["metadata"]["name"]
        if name not in IMAGES:
            document["spec"]["replicas"] = 0
            return document
        for container in document["spec"]["template"]["spec"]["containers"]:
            container |= {"image": image(name), "imagePullPolicy": "Never", "command": ["/program"]}
            container["resources"]["requests"]["cpu"] = "10m"
    return document
