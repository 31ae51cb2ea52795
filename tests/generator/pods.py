"""The pods that documents lead to, and what Kubernetes would say to each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.generator.names import LABEL, namespace, title
from tests.generator.services import MAIN, Document, amount, laid_over, mode_of, predictors

HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
AGENT_PORT = 9081
# Queue-proxy stands beside the server in each Knative pod.
QUEUE_PROXY = {
    "user-port": 8080,
    "queue-port": 8012,
    "queue-port of HTTP/2": 8013,
    "http-queueadm": 8022,
    "http-autometric": 9090,
    "http-usermetric": 9091,
    "https-port": 8112,
}


@dataclass(frozen=True)
class RenderedPod:
    """A pod that some document makes: its containers, and the labels by which others find it."""

    owner: str
    namespace: str
    spec: Document
    containers: list[Document]
    labels: dict[str, str] = field(default_factory=dict)
    knative: bool = False
    agent: bool = False

    @property
    def ports(self) -> dict[str, int]:
        """Its ports by name; those with no name by their number."""
        declared = [port for container in self.containers for port in container.get("ports") or ()]
        by_name = {port.get("name") or str(port["containerPort"]): port["containerPort"] for port in declared}
        if self.knative:
            return {"http1": 8080, **QUEUE_PROXY, **by_name}
        # With none declared, KServe takes 8080.
        return (by_name or {"8080": 8080}) | ({"agent": AGENT_PORT} if self.agent else {})


def pods(documents: Sequence[Document]) -> list[RenderedPod]:
    """All pods of the documents, canaries among them."""
    return [pod for document in documents for pod in _pods(document)]


def _pods(document: Document) -> Iterator[RenderedPod]:
    kind, spec, where = document["kind"], document.get("spec") or {}, namespace(document)
    if kind == "InferenceService":
        stable = spec.get("predictor") or {}
        for predictor in predictors(document):
            yield _of_predictor(document, laid_over(stable, predictor))
    elif kind in {"ServingRuntime", "ClusterServingRuntime"}:
        yield RenderedPod(title(document), where, spec, list(spec.get("containers") or ()))
    elif kind == "ClusterStorageContainer":
        container = spec.get("container") or {}
        yield RenderedPod(title(document), where, {}, [container])
    elif kind in {"Job", "CronJob"}:
        job = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
        template = job["template"]
        labels = template.get("metadata", {}).get("labels") or {}
        yield RenderedPod(
            title(document), where, template["spec"], list(template["spec"].get("containers") or ()), labels
        )


def _of_predictor(service: Document, merged: Document) -> RenderedPod:
    name, knative = service["metadata"].get("name", ""), mode_of(service) == "Knative"
    resource_name = f"{name}-{merged['name']}-predictor" if merged.get("name") and not knative else f"{name}-predictor"
    own = {"serving.kserve.io/inferenceservice": name, "component": "predictor"}
    if knative:
        own |= dict.fromkeys(("serving.knative.dev/service", "serving.knative.dev/configuration"), resource_name)
    else:
        own["app"] = f"isvc.{resource_name}"
    served = [{"name": MAIN, **merged["model"]}] if merged.get("model") is not None else []
    labels = {**(service["metadata"].get("labels") or {}), **(merged.get("labels") or {}), **own}
    containers = [*served, *(merged.get("containers") or ())]
    agent = bool(merged.get("logger") or merged.get("batcher"))
    return RenderedPod(
        f"{title(service)} ({resource_name})", namespace(service), merged, containers, labels, knative, agent
    )


def pod_problems(pod: RenderedPod) -> list[str]:
    """What Kubernetes would refuse of the pod, or leave without effect."""
    return [f"{pod.owner}: {problem}" for problem in _problems(pod)]


def _problems(pod: RenderedPod) -> Iterator[str]:
    spec = pod.spec
    started = [*pod.containers, *(spec.get("initContainers") or ())]
    names = [container.get("name", "") for container in started]
    for name in names:
        if not LABEL.fullmatch(name) or len(name) > 63:
            yield f"{name!r} is not a name of a container"
        if names.count(name) > 1:
            yield f"two containers are called {name}"
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    mounted = {mount["name"] for container in started for mount in container.get("volumeMounts") or ()}
    for name, volume in volumes.items():
        if len(volume) != 2:
            yield f"the volume {name} needs exactly one source, found {sorted(volume.keys() - {'name'})}"
        if not LABEL.fullmatch(name) or len(name) > 63:
            yield f"{name!r} is not a name of a volume"
        if name not in mounted and pod.labels:
            yield f"the volume {name} is not mounted"
    for container in started:
        for problem in (*_container(container, volumes), *_probes(container, pod)):
            yield f"{container.get('name')}: {problem}"
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") != "Always":
            for key in sorted(container.keys() & {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"}):
                yield f"{container['name']}: an init container has no {key}"
    if pod.owner.startswith(("Job", "CronJob")) and spec.get("restartPolicy") not in {"OnFailure", "Never"}:
        yield "restartPolicy of a job must be OnFailure or Never"
    yield from _grace(pod)


def _container(container: Document, volumes: dict[str, Any]) -> Iterator[str]:
    mounts = container.get("volumeMounts") or ()
    paths = [mount["mountPath"].rstrip("/") for mount in mounts]
    for mount, path in zip(mounts, paths, strict=True):
        if mount["name"] not in volumes:
            yield f"the mount {mount['name']} has no volume"
        if paths.count(path) > 1:
            yield f"{path} is mounted twice"
        if ":" in path or not path.startswith("/"):
            yield f"{path!r} is not a path to mount at"
    ports = container.get("ports") or ()
    for port in ports:
        name = port.get("name")
        if name is not None and not re.fullmatch(r"(?!.*--)(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", name):
            yield f"{name!r} is not a name of a port (at most 15)"
        if not 1 <= port["containerPort"] <= 65535:
            yield f"the port {port['containerPort']} is out of range"
        if [other.get("name") for other in ports].count(name) > 1:
            yield f"two ports are called {name}"
    variables = [entry["name"] for entry in container.get("env") or ()]
    for entry in container.get("env") or ():
        if not re.fullmatch(r"[-._a-zA-Z][-._a-zA-Z0-9]*", entry["name"]):
            yield f"{entry['name']!r} is not a name of a variable"
        if variables.count(entry["name"]) > 1:
            yield f"the variable {entry['name']} is there twice"
        if entry.get("valueFrom") is not None and "value" in entry:
            yield f"the variable {entry['name']} has a value and a source"
        if "valueFrom" in entry and len(entry["valueFrom"]) != 1:
            yield f"the variable {entry['name']} needs exactly one source"
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, quantity in limits.items():
        if name in requests and amount(requests[name]) > amount(quantity):
            yield f"requests.{name} {requests[name]} is more than its limit {quantity}"
    for name in {*requests, *limits}:
        if "/" in name and requests.get(name, limits.get(name)) != limits.get(name):
            yield f"{name} must be asked for as much as it is limited to"


def _probes(container: Document, pod: RenderedPod) -> Iterator[str]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        handlers = [handler for handler in HANDLERS if handler in probe]
        if len(handlers) != 1:
            yield f"{name} needs exactly one of {', '.join(HANDLERS)}"
        for each in ("timeoutSeconds", "periodSeconds", "failureThreshold", "successThreshold"):
            if probe.get(each, 1) < 1 and not (pod.knative and each == "periodSeconds"):
                yield f"{name}.{each} is less than 1"
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield f"{name}.successThreshold must be 1"
        for handler in handlers:
            port = probe[handler].get("port")
            declared = pod.ports
            if isinstance(port, str) and port not in declared:
                yield f"{name} names the port {port}, which no container has"
            if isinstance(port, int) and port not in declared.values() and container.get("ports"):
                yield f"{name} asks at port {port}, which no container has"


def _grace(pod: RenderedPod) -> Iterator[str]:
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    for container in pod.containers:
        stop = (container.get("lifecycle") or {}).get("preStop") or {}
        pause = (stop.get("sleep") or {}).get("seconds", 0)
        if pause > grace:
            yield f"{container.get('name')}: preStop sleeps for {pause} s, and the pod has {grace} s to end"
