"""A small cluster in memory: KServe's two modes, Deployments that roll, and a gateway, as far as a rollout sees them.

What happens between two observations is left to chance. After every change it checks that callers get answers.
"""

from __future__ import annotations

import copy
import random
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from generator.resources.inference_service import VISIBILITY
from generator.resources.meta import Resource
from generator.rollout.actions import Action, ApplyDocuments, Patch
from generator.rollout.observed import ObservedServe, kind_of, strings

HOST = "fraud-ml.example.com"
GATEWAY = {"parentRefs": [{"namespace": "kserve", "name": "kserve-ingress-gateway"}]}


class DriverEnded(Exception):
    """The driver was ended in the middle of a plan."""


def merged(target: Any, change: Any) -> Any:
    """A merge patch, as in RFC 7386."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class SimulatedCluster:
    """What both modes have in common: objects that are applied, patched and deleted."""

    def __init__(self, chance: random.Random, never_ready: frozenset[str] = frozenset()) -> None:
        self.chance, self.never_ready = chance, never_ready
        self.objects: dict[tuple[str, str], Resource] = {}
        self.time = 0.0
        self.actions_left: int | None = None
        """Actions until the driver is interrupted; None for never."""
        self.on_change: list[Callable[[], None]] = []

    def observe(self) -> ObservedServe:
        return ObservedServe(dict(self.objects))

    def now(self) -> float:
        return self.time

    def pause(self) -> None:
        self.time += 1
        self.control()

    def settle(self) -> None:
        for _ in range(60):
            self.pause()

    def carry_out(self, action: Action) -> None:
        if self.actions_left == 0:
            raise DriverEnded
        if isinstance(action, ApplyDocuments):
            for document in action.documents:
                self.store(document)
        elif isinstance(action, Patch):
            there = self.objects[action.kind, action.name]
            assert action.type == "merge"
            self.put(merged(there, action.content))
        else:
            self.delete(action.kind, action.name)
        self.check()
        if self.actions_left is not None:
            self.actions_left -= 1
            # The answer may be lost as well.
            if self.actions_left == 0 and self.chance.random() < 0.5:
                raise DriverEnded
        for _ in range(self.chance.randrange(3)):
            self.control()

    def store(self, document: Resource) -> None:
        there = self.objects.get((kind_of(document), document["metadata"]["name"]), {})
        self.put({**there, **merged({key: value for key, value in there.items() if key == "metadata"}, document)})

    def put(self, document: Resource) -> None:
        document = copy.deepcopy(document)
        key = (kind_of(document), document["metadata"]["name"])
        there = self.objects.get(key)
        about = document["metadata"]
        if there is None:
            about |= {"generation": 1, "creationTimestamp": self.time}
            self.time += 0.001
        elif there.get("spec") != document.get("spec"):
            about["generation"] = there["metadata"]["generation"] + 1
        document.setdefault("apiVersion", "v1")
        self.objects[key] = document

    def delete(self, kind: str, name: str) -> None:
        self.objects.pop((kind, name), None)

    def of_kind(self, kind: str) -> list[Resource]:
        return [each for (one, _), each in list(self.objects.items()) if one == kind]

    def works(self, template: Any) -> bool:
        return not self.never_ready & set(strings(template))

    @abstractmethod
    def control(self) -> None:
        """One round of the controllers, some of which have nothing to say yet."""

    @abstractmethod
    def check(self) -> None:
        """Whether callers get answers."""


def path_of(route: Resource) -> dict[str, str]:
    """The path of the rule for everybody."""
    (match,) = route["spec"]["rules"][-1]["matches"]
    path: dict[str, str] = match["path"]
    return path


def precedence(route: Resource) -> tuple[bool, int, float]:
    """Where a route comes among those that lead the same requests, as Envoy Gateway has it."""
    path = path_of(route)
    return path["type"] != "RegularExpression", -len(path["value"]), float(route["metadata"]["creationTimestamp"])


class StandardCluster(SimulatedCluster):
    """KServe's Standard mode with the Gateway API."""

    def __init__(self, chance: random.Random, never_ready: frozenset[str] = frozenset()) -> None:
        super().__init__(chance, never_ready)
        self.pods: dict[str, list[dict[str, Any]]] = {}
        self.live: dict[str, Resource] = {}
        """The routes as the gateway has them."""
        self.served = False
        """Whether somebody has got an answer once: from then on everybody does."""

    def control(self) -> None:
        for round_ in self.chance.sample([self.kserve, self.deployments, self.gateway], 3):
            if self.chance.random() < 0.7:
                round_()
                self.check()

    def kserve(self) -> None:
        wanted = {f"{each['metadata']['name']}-predictor": each for each in self.of_kind("InferenceService")}
        for name in set(self.pods) - set(wanted):
            self.delete("Deployment", name)
            del self.pods[name]
        for name, service in wanted.items():
            predictor = service["spec"]["predictor"]
            labels = service["metadata"]["labels"] | predictor.get("labels", {})
            template = {"labels": labels, **{key: predictor[key] for key in predictor.keys() - SCALING}}
            there = self.objects.get(("Deployment", name), {"spec": {}, "metadata": {}})
            least = predictor.get("minReplicas", 1)
            replicas = max(least, min(there["spec"].get("replicas", least), predictor.get("maxReplicas", 1000)))
            if self.chance.random() < 0.02:  # the autoscaler
                replicas = max(least, replicas + self.chance.choice([-1, 1]))
            spec = {"template": template, "replicas": replicas}
            if there["spec"] != spec:
                about = {**there["metadata"], "name": name}
                self.put({**there, "kind": "Deployment", "apiVersion": "apps/v1", "metadata": about, "spec": spec})
                self.pods.setdefault(name, [])
            self.routes(service, name)

    def routes(self, service: Resource, workload: str) -> None:
        """KServe makes routes for whoever is ready and not cluster-local; it never deletes them."""
        ready = any(pod["ready"] for pod in self.pods.get(workload, []))
        if service["metadata"]["labels"].get(VISIBILITY) == "cluster-local" or not ready:
            return
        serve = service["metadata"]["name"]
        for name, host in ((serve, f"{serve}-ml.example.com"), (workload, f"{workload}-ml.example.com")):
            path = {"type": "RegularExpression", "value": "^/.*$"}
            rules = [{"matches": [{"path": path}], "backendRefs": [{"name": workload, "weight": 1}]}]
            if ("HTTPRoute", name) not in self.objects:
                spec = {**GATEWAY, "hostnames": [host], "rules": rules}
                self.put({"kind": "HTTPRoute", "apiVersion": "g/v1", "metadata": {"name": name}, "spec": spec})

    def deployments(self) -> None:
        """Each Deployment takes one step: a pod more, a pod ready, or an old pod less."""
        for deployment in self.of_kind("Deployment"):
            name, spec = deployment["metadata"]["name"], deployment["spec"]
            pods = self.pods.setdefault(name, [])
            newest = [pod for pod in pods if pod["template"] == spec["template"]]
            old = [pod for pod in pods if pod not in newest]
            starting = [pod for pod in newest if not pod["ready"]]
            available = [pod for pod in pods if pod["ready"]]
            if starting and self.works(spec["template"]):
                self.chance.choice(starting)["ready"] = True
            elif unready := [pod for pod in old if not pod["ready"]]:
                pods.remove(unready[0])
            elif old and len(available) > spec["replicas"]:
                pods.remove(old[0])
            elif len(newest) > spec["replicas"]:
                pods.remove(newest[-1])
            elif len(newest) < spec["replicas"] and len(pods) <= spec["replicas"]:
                pods.append({"template": spec["template"], "ready": False})
            deployment["status"] = {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": len(pods),
                "updatedReplicas": len([pod for pod in pods if pod["template"] == spec["template"]]),
                "availableReplicas": len([pod for pod in pods if pod["ready"]]),
            }

    def delete(self, kind: str, name: str) -> None:
        """A gateway may forget the pods of a route before it forgets the route."""
        if kind == "HTTPRoute" and name in self.live:
            assert self.live[name] is not self.leading(), f"{name} goes while requests follow it"
        super().delete(kind, name)

    def gateway(self) -> None:
        for name in set(self.live) - {each["metadata"]["name"] for each in self.of_kind("HTTPRoute")}:
            del self.live[name]
        for route in self.of_kind("HTTPRoute"):
            if self.chance.random() < 0.5:
                continue  # not noticed as yet
            names = {each["name"] for rule in route["spec"]["rules"] for each in rule["backendRefs"]}
            resolved = names <= set(self.pods)
            generation = route["metadata"]["generation"]
            conditions = [
                {"type": kind, "status": status, "observedGeneration": generation}
                for kind, status in (("Accepted", "True"), ("ResolvedRefs", "True" if resolved else "False"))
            ]
            route["status"] = {"parents": [{"conditions": conditions}]}
            name, followed = route["metadata"]["name"], self.leading()
            is_new = name not in self.live
            self.live[name] = {**route}
            # It may follow a route before it knows the pods behind it.
            assert not (is_new and followed and self.leading() is self.live[name]), f"{name} is followed at once"

    def leading(self) -> Resource | None:
        """The route that everybody's requests follow: the one with the longest expression, and then the oldest."""
        routes = [each for each in self.live.values() if HOST in each["spec"]["hostnames"]]
        routes = [each for each in routes if path_of(each)["type"] != "Exact"]  # nobody asks for one path
        return min(routes, default=None, key=precedence)

    def shares(self) -> dict[str, int]:
        """Where the gateway sends the requests of everybody."""
        route = self.leading()
        if route is None:
            return {}
        shares = [
            {each["name"]: each.get("weight", 1) for each in rule["backendRefs"]} for rule in route["spec"]["rules"]
        ]
        assert all(each == shares[-1] for each in shares[-2:]), "gRPC and REST are split alike"
        return shares[-1]

    def check(self) -> None:
        shares = self.shares()
        if not shares:
            assert not self.served, "no route leads to the serve"
            return
        total = sum(shares.values())
        assert total == 100 or len(shares) == 1, f"the weights are {shares}"
        for name, weight in shares.items():
            ready = any(pod["ready"] for pod in self.pods.get(name, []))
            if weight:
                assert ready, f"{weight} go to {name}, which has no pod"
        self.served = True

    def models(self) -> dict[str, int]:
        """The percent that each model gets; a serve in the middle of an update counts for all of its models."""
        shares = self.shares()
        percents: dict[str, int] = {}
        for name, weight in shares.items():
            if not weight:
                continue
            uris = {uri for pod in self.pods[name] for uri in strings(pod["template"]) if uri.startswith("models:/")}
            percents |= {
                uri: percents.get(uri, 0) + round(100 * weight / sum(shares.values())) for uri in uris if weight
            }
        return percents


SCALING = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "autoScaling", "canaryTrafficPercent", "labels"}


def predictor_status(service: Resource) -> dict[str, Any]:
    components = service.setdefault("status", {}).setdefault("components", {})
    status: dict[str, Any] = components.setdefault("predictor", {})
    return status


class KnativeCluster(SimulatedCluster):
    """KServe's Knative mode: revisions, and the split as KServe computes it from the status."""

    def __init__(self, chance: random.Random, never_ready: frozenset[str] = frozenset()) -> None:
        super().__init__(chance, never_ready)
        self.count = 0

    def control(self) -> None:
        for round_ in self.chance.sample([self.kserve, self.revisions, self.status], 3):
            if self.chance.random() < 0.7:
                round_()

    def kserve(self) -> None:
        for service in self.of_kind("InferenceService"):
            predictor = service["spec"]["predictor"]
            percent = predictor.get("canaryTrafficPercent")
            latest: dict[str, Any] = {"latestRevision": True, "percent": 100 if percent is None else percent}
            traffic = [latest]
            rolled_out = predictor_status(service).get("latestRolledoutRevision")
            if percent is not None and rolled_out:
                if percent < 100:
                    traffic.append({"revisionName": rolled_out, "percent": 100 - percent})
            else:
                latest["percent"] = 100
            template = {key: value for key, value in predictor.items() if key != "canaryTrafficPercent"}
            name = f"{service['metadata']['name']}-predictor"
            there = self.objects.get(("ksvc", name), {"metadata": {"name": name}})
            spec = {"template": template, "traffic": traffic}
            if there.get("spec") != spec:
                self.put({**there, "kind": "Service", "apiVersion": "serving.knative.dev/v1", "spec": spec})

    def revisions(self) -> None:
        for service in self.of_kind("ksvc"):
            template, status = service["spec"]["template"], service.setdefault("status", {})
            newest = self.objects.get(("Revision", status.get("latestCreatedRevisionName", "")))
            if newest is None or newest["spec"] != template:
                self.count += 1
                name = f"{service['metadata']['name']}-{self.count:05}"
                self.put({"kind": "Revision", "apiVersion": "k/v1", "metadata": {"name": name}, "spec": template})
                status["latestCreatedRevisionName"] = name
            elif self.works(template):
                status["latestReadyRevisionName"] = newest["metadata"]["name"]
            ready = status.get("latestReadyRevisionName")
            if ready:
                status["traffic"] = [
                    {**each, "revisionName": each.get("revisionName", ready)} for each in service["spec"]["traffic"]
                ]
            status["observedGeneration"] = service["metadata"]["generation"]

    def status(self) -> None:
        """KServe's record of what has been rolled out."""
        for service in self.of_kind("InferenceService"):
            knative = self.objects.get(("ksvc", f"{service['metadata']['name']}-predictor"), {}).get("status", {})
            recorded = predictor_status(service)
            for each in knative.get("traffic", []):
                ready = knative.get("latestReadyRevisionName")
                if not each.get("latestRevision") or each["revisionName"] != ready:
                    continue
                if recorded.get("latestRolledoutRevision") != ready:
                    if each["percent"] == 100:
                        recorded["previousRolledoutRevision"] = recorded.get("latestRolledoutRevision", "")
                        recorded["latestRolledoutRevision"] = ready
                elif ready == knative["latestCreatedRevisionName"] and each["percent"] < 100:
                    same = sum(one["percent"] for one in knative["traffic"] if one["revisionName"] == ready)
                    if same == 100 and recorded.get("previousRolledoutRevision"):
                        recorded["latestRolledoutRevision"] = recorded["previousRolledoutRevision"]

    def check(self) -> None:
        pass

    def models(self) -> dict[str, int]:
        percents: dict[str, int] = {}
        for service in self.of_kind("ksvc"):
            for each in service.get("status", {}).get("traffic", []):
                spec = self.objects["Revision", each["revisionName"]]["spec"]
                for uri in {text for text in strings(spec) if text.startswith("models:/")}:
                    percents[uri] = percents.get(uri, 0) + each["percent"]
        return {uri: percent for uri, percent in percents.items() if percent}
