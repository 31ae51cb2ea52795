"""Stands in for a kubelet and a gateway: writes that pods are ready and that routes are accepted.

The API server, KServe's manager and Kubernetes' own controllers are real; pods run nowhere.
"""

from __future__ import annotations

import threading
from typing import Any

from controlplane.backends.backend import BackendAway
from controlplane.backends.kserve.api import ApiStatus, KubernetesApi
from controlplane.backends.kserve.kinds import BY_NAME, POD, Resource, ResourceKind

INTERVAL = 0.1
ROUTE = BY_NAME["gateway.networking.k8s.io/v1", "HTTPRoute"]
NOWHERE = {"node_selector": {"mlflow-kserve-tests": "nowhere"}}
"""The placement of a serve whose pods no real kubelet is to start."""
FRESH = "2026-01-01T00:00:00Z"


class StandIn:
    """Pods whose model is `broken` crash; all others are ready at once, unless it is told to wait."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.holds = False
        """Whether new pods are left pending."""
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, name="stand-in")

    def __enter__(self) -> StandIn:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.thread.join()

    def run(self) -> None:
        while not self.stop.wait(INTERVAL):
            try:
                self.write()
            except (BackendAway, ApiStatus):
                continue  # an object that is gone, or an API server that a test has stopped

    def write(self) -> None:
        for pod in self.api.listed(POD, self.namespace, ""):
            if not self.holds and "containerStatuses" not in pod["status"]:
                self.patch(POD, pod, crashed(pod) if "broken" in str(pod["spec"]) else started(pod))
        for route in self.api.listed(ROUTE, self.namespace, ""):
            if not route.get("status", {}).get("parents"):
                self.patch(ROUTE, route, {"parents": [accepted(parent) for parent in route["spec"]["parentRefs"]]})

    def patch(self, kind: ResourceKind, resource: Resource, status: dict[str, Any]) -> None:
        path = f"{kind.path(self.namespace, resource['metadata']['name'])}/status"
        type_ = "application/strategic-merge-patch+json" if kind == POD else "application/merge-patch+json"
        self.api.request("PATCH", path, {"status": status}, type_)


def started(pod: Resource) -> dict[str, Any]:
    return {
        "phase": "Running",
        "conditions": [{"type": each, "status": "True"} for each in ("Ready", "ContainersReady", "Initialized")],
        "containerStatuses": [
            container(each, 0, {"running": {"startedAt": FRESH}}) for each in pod["spec"]["containers"]
        ],
    }


def crashed(pod: Resource) -> dict[str, Any]:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
    statuses = [container(each, 3, waiting) for each in pod["spec"]["containers"]]
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "the model is broken\n"}}
    return {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{**each, "lastState": ended} for each in statuses],
    }


def container(spec: dict[str, Any], restarts: int, state: dict[str, Any]) -> dict[str, Any]:
    ready = "running" in state
    return {
        "name": spec["name"], "image": spec["image"], "imageID": "", "ready": ready, "started": ready,
        "restartCount": restarts, "state": state,
    }  # fmt: skip


def accepted(parent: dict[str, Any]) -> dict[str, Any]:
    conditions = [
        {"type": each, "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": FRESH}
        for each in ("Accepted", "ResolvedRefs")
    ]
    return {"parentRef": parent, "controllerName": "example.com/stand-in", "conditions": conditions}
