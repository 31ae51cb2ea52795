"""What Knative Serving's webhook refuses in the Service that KServe makes of a Knative InferenceService.

With Knative's feature flags as they are installed, written from its source. KServe then reports a failed reconcile,
long after the InferenceService was admitted. `allowed` names fields whose feature flag the cluster's owner turned on,
such as `nodeSelector`. What a ServingRuntime adds to the pod is not seen here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from tests.generator.services import Document, implementations

# Each has a feature flag (kubernetes.podspec-…) that is off.
GATED = {
    *("affinity", "topologySpreadConstraints", "hostAliases", "nodeSelector", "runtimeClassName", "tolerations"),
    *("securityContext", "shareProcessNamespace", "priorityClassName", "schedulerName", "initContainers"),
    *("dnsPolicy", "dnsConfig", "hostIPC", "hostPID", "hostNetwork"),
}
NEVER = {
    *("restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "nodeName", "hostname", "subdomain"),
    *("priority", "readinessGates", "preemptionPolicy", "overhead", "setHostnameAsFQDN", "os", "hostUsers"),
    *("schedulingGates", "resourceClaims"),
}
CONTAINER = {
    *("name", "args", "command", "env", "workingDir", "envFrom", "image", "imagePullPolicy", "livenessProbe", "ports"),
    *("readinessProbe", "resources", "securityContext", "startupProbe", "terminationMessagePath"),
    *("terminationMessagePolicy", "volumeMounts"),
}
# Fields of `model` that are KServe's and no container's.
OF_MODEL = {
    *("modelFormat", "runtime", "storageUri", "runtimeVersion", "protocolVersion", "storage", "confidential"),
}
SECURITY = {
    *("capabilities", "readOnlyRootFilesystem", "runAsUser", "runAsGroup", "runAsNonRoot"),
    *("allowPrivilegeEscalation", "seccompProfile"),
}
RESERVED_PORTS = {8012, 8013, 8022, 9090, 9091, 8008}
RESERVED_VARIABLES = {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"}
VOLUMES = {"secret", "configMap", "projected", "emptyDir"}
LONGEST_TIMEOUT = 600


def refusals(service: Document, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Why Knative refuses the Service of this InferenceService (of the mode Knative)."""
    predictor = service["spec"]["predictor"]
    return list(_pod(predictor, allowed))


def _pod(pod: Document, allowed: frozenset[str]) -> Iterator[str]:
    for field in sorted(pod.keys() & (GATED | NEVER) - allowed):
        yield f"{field} is not allowed" if field in NEVER else f"{field} needs a feature flag that is off"
    if pod.get("automountServiceAccountToken"):
        yield "automountServiceAccountToken may only be false"
    if pod.get("timeout", 0) > LONGEST_TIMEOUT:
        yield f"timeout is more than {LONGEST_TIMEOUT} s"
    served = implementations(pod)
    containers = [*served, *(each for each in pod.get("containers") or () if each not in served)]
    mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts") or ()}
    volumes = {volume["name"]: volume for volume in pod.get("volumes") or ()}
    for name, volume in volumes.items():
        if name not in mounted:
            yield f"the volume {name} is not mounted"
        for kind in sorted(volume.keys() - VOLUMES - {"name"} - allowed):
            yield f"the volume {name}: {kind} needs a feature flag that is off"
    ports = [port for container in containers for port in container.get("ports") or ()]
    if len(ports) > 1:
        yield f"one port is allowed in all, found {len(ports)}"
    if not ports and len(containers) > 1:
        yield "with several containers one needs the port"
    for container in containers:
        for problem in _container(container, volumes, bool(container.get("ports")) or len(containers) == 1, allowed):
            yield f"{container.get('name') or 'model'}: {problem}"


def _container(container: Document, volumes: dict[str, Any], main: bool, allowed: frozenset[str]) -> Iterator[str]:
    for field in sorted(container.keys() - CONTAINER - OF_MODEL - allowed):
        yield f"{field} is not allowed"
    for field in sorted((container.get("securityContext") or {}).keys() - SECURITY):
        if field != "privileged" or container["securityContext"]["privileged"]:
            yield f"securityContext.{field} is not allowed"
    for entry in container.get("env") or ():
        if entry["name"] in RESERVED_VARIABLES and (main or entry["name"] != "PORT"):
            yield f"the variable {entry['name']} is Knative's"
        for field in sorted((entry.get("valueFrom") or {}).keys() & {"fieldRef", "resourceFieldRef"} - allowed):
            yield f"the variable {entry['name']}: {field} needs a feature flag that is off"
    for port in container.get("ports") or ():
        if port.get("name", "") not in {"", "h2c", "http1"}:
            yield f"the port's name is {port['name']}; h2c and http1 are allowed"
        if port.get("protocol", "TCP") != "TCP":
            yield f"the port's protocol is {port['protocol']}; TCP is allowed"
        if port["containerPort"] in RESERVED_PORTS:
            yield f"the port {port['containerPort']} is Knative's"
        for field in sorted(port.keys() & {"hostIP", "hostPort"}):
            yield f"ports: {field} is not allowed"
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            if not main:
                yield f"{name} is allowed in the container with the port only"
            yield from (f"{name}: {problem}" for problem in _probe(container[name], container))
    yield from _mounts(container, volumes)


def _probe(probe: Document, container: Document) -> Iterator[str]:
    handlers = sorted(probe.keys() & {"exec", "httpGet", "tcpSocket", "grpc"})
    if len(handlers) != 1:
        yield f"exactly one of exec, httpGet, tcpSocket and grpc is expected, found {len(handlers)}"
    for handler in handlers:
        port = probe[handler].get("port")
        names = [each.get("name", "http") for each in container.get("ports") or ()] or ["http"]
        if isinstance(port, str) and port not in names:
            yield f"the port {port} is not the container's"
    # Left out, it takes Knative's own probing; said, it must be complete.
    if probe.get("periodSeconds") == 0 and ("failureThreshold" in probe or "timeoutSeconds" in probe):
        yield "failureThreshold and timeoutSeconds are not allowed when periodSeconds is 0"


def _mounts(container: Document, volumes: dict[str, Any]) -> Iterator[str]:
    paths = set()
    for mount in container.get("volumeMounts") or ():
        path = posixpath.normpath(mount["mountPath"])
        if path in {"/", "/dev", "/dev/log"}:
            yield f"the path {path} is reserved"
        if path in paths:
            yield f"the path {path} is mounted twice"
        paths.add(path)
        volume = volumes.get(mount["name"])
        if volume is None:
            yield f"the mount {mount['name']} has no volume"
        elif not volume.keys() & {"emptyDir", "persistentVolumeClaim", "ephemeral"} and not mount.get("readOnly"):
            yield f"the mount {mount['name']} must be read-only"
