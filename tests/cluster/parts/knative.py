"""Knative Serving, in pods as its release runs it, and a stand-in for its ingress that makes HTTPRoutes."""

from __future__ import annotations

import sys

from tests.cluster.parts.api import Document, apply, documents, kubectl, service_of_process
from tests.cluster.parts.node import image, image_of
from tests.cluster.parts.places import LOCAL_GATEWAY_PORT, REGISTRY
from tests.cluster.parts.processes import start
from tests.cluster.parts.programs import folder, program

SPACE = "knative-serving"
RUN = ("controller", "webhook", "autoscaler", "activator")
PROGRAMS = (*RUN, "queue")
CRDS_OF_NETWORKING = ("certificate", "ingress", "domain-claim", "serverlessservice")
JUDGED = ("Certificate", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
"""What the webhook judges, and that it does: it must run by then."""
SETTINGS = {
    "config-deployment": {
        "queue-sidecar-image": image("knative-queue"),
        # Its images are as they are: nobody is asked for their digests.
        "registries-skipping-tag-resolving": REGISTRY,
        "queue-sidecar-cpu-request": "10m",
    },
    "config-network": {"ingress-class": "mlflow-kserve.tests"},
    "config-domain": {"example.com": ""},
}


def knative() -> None:
    for name in PROGRAMS:
        image_of(f"knative-{name}", program("knative", name))
    # KServe's stand-in for it, without which KServe does not start.
    kubectl("delete", "crd", "services.serving.knative.dev", "--ignore-not-found")
    release = _release()
    apply([one for one in release if one["kind"] not in JUDGED])
    apply(service_of_process("local-gateway", SPACE, http=(80, LOCAL_GATEWAY_PORT)))
    start("knative-ingress", sys.executable, "-m", "tests.cluster.parts.knative_ingress")
    kubectl("wait", "--for=condition=Available", "deployments", "--all", "--namespace", SPACE, "--timeout=240s")
    apply(one for one in release if one["kind"] in JUDGED)


def _release() -> list[Document]:
    """The manifests of the release without what scales Knative itself."""
    core = folder("knative", "knative.dev/serving") / "config" / "core"
    networking, caching = (folder("knative", f"knative.dev/{name}") / "config" for name in ("networking", "caching"))
    files = [path for path in sorted(core.rglob("*.yaml")) if path.name != "999-cache.yaml"]
    files += [networking / f"{name}.yaml" for name in (*CRDS_OF_NETWORKING, "config-network")]
    left_out = ("HorizontalPodAutoscaler", "PodDisruptionBudget")
    return [_adapted(one) for one in documents(*files, caching / "image.yaml") if one["kind"] not in left_out]


def _adapted(document: Document) -> Document:
    if document["kind"] == "ConfigMap":
        # Their examples come with a checksum, and are settings of nobody.
        document["metadata"].get("annotations", {}).pop("knative.dev/example-checksum", None)
        data = document.setdefault("data", {})
        data.pop("_example", None)
        data |= SETTINGS.get(document["metadata"]["name"], {})
        document["metadata"]["namespace"] = SPACE
    if document["kind"] == "Deployment":
        for container in document["spec"]["template"]["spec"]["containers"]:
            container["image"] = image(f"knative-{container['image'].rpartition('/')[2]}")
            container["resources"]["requests"]["cpu"] = "10m"
    return document
