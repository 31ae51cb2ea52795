"""The API of the generator's simulated cluster, as the control plane asks it: what happens in between is left to chance."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from controlplane.backends.kserve.api import ApiStatus, KubernetesApi
from controlplane.backends.kserve.fields import MANAGER
from controlplane.backends.kserve.kinds import (
    APPLIED,
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    POD,
    Resource,
    ResourceKind,
)
from controlplane.backends.kserve.pods import POD_LABEL
from tests.controlplane.backends.kserve.serves import TIME, condition, fields_of, spec_only
from tests.generator.rollout.simulated import StandardCluster, merged

READY = [condition(kind) for kind in ("Ready", "IngressReady", "PredictorReady")]


class ControlPlaneKilled(Exception):
    """The control plane was ended before it changed something, or before it heard that it had."""


class SimulatedApi(KubernetesApi):
    """Each request that changes something may be the last one of a control plane."""

    def __init__(self, seed: int, namespace: str, never_ready: frozenset[str] = frozenset()) -> None:
        self.cluster = StandardCluster(random.Random(seed), never_ready)
        self.namespace = namespace
        self.changes_left: int | None = None

    def kinds(self, wanted: tuple[ResourceKind, ...]) -> list[ResourceKind]:
        return [each for each in wanted if each in (*APPLIED, DEPLOYMENT, POD)]

    # -- what is there ------------------------------------------------------------------------------------------

    def get(self, kind: ResourceKind, namespace: str, name: str) -> Resource | None:
        return next((each for each in self.all_of(kind) if each["metadata"]["name"] == name), None)

    def listed(self, kind: ResourceKind, namespace: str, selector: str) -> list[Resource]:
        wanted = [each.partition("=")[::2] for each in selector.split(",") if each]
        return [each for each in self.all_of(kind) if all(has(each, name, value) for name, value in wanted)]

    def all_of(self, kind: ResourceKind) -> list[Resource]:
        if kind == POD:
            return list(self.pods())
        objects = (copy.deepcopy(each) for each in self.cluster.of_kind(kind.kind))
        shown = (self.deployment(each) if kind == DEPLOYMENT else each for each in objects)
        return [
            {**each, "apiVersion": kind.api_version, "kind": kind.kind,
             "metadata": {**each["metadata"], "creationTimestamp": TIME}}
            for each in shown
        ]  # fmt: skip

    def deployment(self, stored: Resource) -> Resource:
        """A Deployment whose template has labels where Kubernetes has them."""
        template = stored["spec"]["template"]
        stored["spec"]["template"] = {**template, "metadata": {"labels": template["labels"]}}
        stored["metadata"]["labels"] = template["labels"]
        status = stored.get("status", {})
        stored["status"] = {**status, "readyReplicas": status.get("availableReplicas", 0)}
        return stored

    def pods(self) -> Iterator[Resource]:
        for workload, pods in self.cluster.pods.items():
            for number, pod in enumerate(pods):
                labels = {**pod["template"]["labels"], POD_LABEL: workload.removesuffix("-predictor")}
                about = {"name": f"{workload}-{number}", "namespace": self.namespace, "labels": labels}
                status = {"conditions": [condition("Ready", "True" if pod["ready"] else "False")]}
                yield {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {}, "status": status}

    # -- what is changed ----------------------------------------------------------------------------------------

    def changing(self) -> None:
        if self.changes_left is not None:
            self.changes_left -= 1
            if self.changes_left < 0:
                raise ControlPlaneKilled
        for _ in range(self.cluster.chance.randrange(3)):
            self.cluster.pause()

    def put(self, resource: Resource) -> Resource:
        stored = copy.deepcopy(resource)
        if stored["kind"] == INFERENCE_SERVICE.kind:
            stored["status"] = {"url": "http://fraud-ml.example.com", "conditions": READY}
        self.cluster.put(stored)
        self.cluster.check()
        return stored

    def apply(self, resource: Resource, take_over: bool = False, dry_run: bool = False) -> Resource:
        self.changing()
        there = self.cluster.objects.get((resource["kind"], resource["metadata"]["name"]), {})
        about = there.get("metadata", {})
        stored = {**there, **copy.deepcopy(resource)}
        others = [each for each in about.get("managedFields", ()) if each["operation"] != "Apply"]
        ours = {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields_of(spec_only(resource))}
        kept = about.get("labels", {}) if others else {}  # labels that a patch has set are the patch's
        stored["metadata"] = {
            "uid": "1", **about, **resource["metadata"],
            "labels": {**kept, **resource["metadata"].get("labels", {})}, "managedFields": [ours, *others],
        }  # fmt: skip
        return self.put(stored)

    def patch(self, kind: ResourceKind, namespace: str, name: str, change: Any, manager: str) -> None:
        self.changing()
        there = self.cluster.objects.get((kind.kind, name))
        if there is None:
            raise ApiStatus(404, {"message": f"{kind.kind} {name} not found"})
        stored = merged(there, change)
        if stored == there:
            return  # what changes nothing claims nothing
        fields: dict[str, Any] = {"manager": manager, "operation": "Update", "time": TIME, "fieldsV1": {
            f"f:{key}": {f"f:{below}": {} for below in value} for key, value in change.items() if key != "metadata"
        }}  # fmt: skip
        others = [each for each in there["metadata"].get("managedFields", ()) if each["operation"] == "Apply"]
        claimed = [fields] if fields["fieldsV1"] else []  # labels come and go, and their claims with them
        stored["metadata"] = {**stored["metadata"], "managedFields": [*others, *claimed]}
        self.put(stored)

    def disown(self, resource: Resource, manager: str) -> None:
        stored = self.cluster.objects[resource["kind"], resource["metadata"]["name"]]
        managers = stored["metadata"]["managedFields"]
        stored["metadata"]["managedFields"] = [each for each in managers if each["manager"] != manager]

    def delete(self, resource: Resource) -> None:
        self.changing()
        self.cluster.delete(resource["kind"], resource["metadata"]["name"])
        self.cluster.check()


def has(resource: Resource, label: str, value: str) -> bool:
    labels = resource["metadata"].get("labels", {})
    return label in labels and value in ("", labels[label])


def routes(api: SimulatedApi) -> list[str]:
    return sorted(each["metadata"]["name"] for each in api.all_of(HTTP_ROUTE))
