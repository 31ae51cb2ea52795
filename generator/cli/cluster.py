"""A cluster, asked and changed by kubectl."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from generator.cli.console import UNREACHABLE, Stop
from generator.output import stream
from generator.plan import ManifestPlan
from generator.resources.meta import CANARY_OF, Resource
from generator.rollout.actions import Action, ApplyDocuments, Patch
from generator.rollout.observed import KNATIVE_SERVICE, ClusterTraits, ObservedServe

KSERVE_NAMESPACE = "kserve"
LAST_WITHOUT_SPLIT = (0, 20, 0)
"""The last release whose spec.canary sends a canary nothing."""
POLL_INTERVAL = 1.0
NO_KIND = "the server doesn't have a resource type"


class KubectlError(Stop):
    """kubectl failed; its message says why."""

    def __init__(self, arguments: Iterable[str], stderr: str) -> None:
        self.stderr = stderr
        super().__init__(f"kubectl {' '.join(arguments)}: {stderr.strip()}", UNREACHABLE)


@dataclass
class KubectlCluster:
    """The objects of one namespace that a rollout looks at."""

    namespace: str
    context: str | None = None
    objects: list[tuple[str, str]] = field(default_factory=list)
    traits: ClusterTraits = field(default_factory=ClusterTraits)

    def observe(self) -> ObservedServe:
        items = self.get([f"{resource_of(kind)}/{name}" for kind, name in self.objects])
        services = [each for each in items if each["apiVersion"].startswith("serving.knative.dev/")]
        newest = [each.get("status", {}).get("latestCreatedRevisionName") for each in services]
        if revisions := [f"revision/{name}" for name in newest if name]:
            items += self.get(revisions)
        return ObservedServe.of(items, self.traits)

    def carry_out(self, action: Action) -> None:
        words = ["--namespace", self.namespace]
        if isinstance(action, ApplyDocuments):
            self.run(["apply", *words, "--filename", "-"], stream(action.documents))
        elif isinstance(action, Patch):
            content = json.dumps(action.content)
            what = ["patch", resource_of(action.kind), action.name, *words, "--type", action.type, "--patch", content]
            self.run(what)
        else:
            self.run(["delete", resource_of(action.kind), action.name, *words, "--ignore-not-found"])

    def now(self) -> float:
        return time.monotonic()

    def pause(self) -> None:
        time.sleep(POLL_INTERVAL)

    def get(self, names: list[str]) -> list[Resource]:
        """Those of the objects that are there."""
        reply = self.read(["get", *names, "--namespace", self.namespace, "--ignore-not-found"])
        if reply is None:
            return []
        return list(reply["items"]) if reply["kind"] == "List" else [reply]

    def canaries_of(self, serve: str) -> list[str]:
        """The names of the serve's canaries with InferenceServices of their own."""
        kind = resource_of("InferenceService")
        reply = self.read(["get", kind, "--namespace", self.namespace, "--selector", f"{CANARY_OF}={serve}"])
        return [each["metadata"]["name"] for each in reply["items"]] if reply else []

    def read(self, arguments: list[str]) -> Any:
        text = self.run([*arguments, "--output", "json"])
        return json.loads(text) if text.strip() else None

    def run(self, arguments: list[str], given: str | None = None) -> str:
        context = ["--context", self.context] if self.context else []
        try:
            done = subprocess.run(  # noqa: S603 - the arguments are ours
                ["kubectl", *context, *arguments],  # noqa: S607 - as people call it
                input=given,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise Stop("kubectl: is not installed, and the cluster is asked with it", UNREACHABLE) from None
        if done.returncode:
            raise KubectlError(arguments[:3], done.stderr)
        return done.stdout

    def ask(self) -> Ingress:
        """What KServe's configuration and controller say about splitting traffic; what may not be read is not known."""
        ingress = Ingress()
        try:
            config = self.read(["get", "configmap", "inferenceservice-config", "--namespace", KSERVE_NAMESPACE])
            ingress = Ingress(json.loads(config["data"]["ingress"]))
        except (KubectlError, KeyError, TypeError, ValueError):
            pass
        release = self.release()
        gateway_api = ingress.settings.get("enableGatewayApi") if ingress.settings else None
        self.traits = ClusterTraits(
            gateway_api=gateway_api,
            splits=None if release is None else numbers(release) > LAST_WITHOUT_SPLIT,
            release=release,
        )
        return ingress

    def release(self) -> str | None:
        """The release of KServe's controller, from the tag of its image."""
        where = ["get", "deployment", "kserve-controller-manager", "--namespace", KSERVE_NAMESPACE]
        try:
            controller = self.read(where)
            images = [each["image"] for each in controller["spec"]["template"]["spec"]["containers"]]
        except (KubectlError, KeyError, TypeError):
            return None
        tags = [re.search(r":v?(\d+\.\d+\.\d+)(?:$|[-@])", image) for image in images]
        return next((tag[1] for tag in tags if tag), None)


@dataclass(frozen=True, slots=True)
class Ingress:
    """How KServe of the cluster exposes serves."""

    settings: dict[str, Any] = field(default_factory=dict)

    def hosts(self, plan: ManifestPlan) -> list[str]:
        """The host names of a serve, by the domain template; none if there is another than KServe's own."""
        template = self.settings.get("domainTemplate", "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}")
        values = {"Namespace": plan.spec.namespace, "IngressDomain": self.settings.get("ingressDomain", "")}

        def host(name: str) -> str:
            filled = template
            for key, value in {"Name": name, **values}.items():
                filled = re.sub(r"\{\{\s*\." + key + r"\s*\}\}", value, filled)
            return str(filled)

        named = [host(name) for name in (plan.spec.name, plan.workload)] if values["IngressDomain"] else []
        return named if not any("{{" in each for each in named) else []


def numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def resource_of(kind: str) -> str:
    """The kind as kubectl takes it, with its group where the name alone is not enough."""
    groups = {
        KNATIVE_SERVICE: "services.serving.knative.dev",
        "Deployment": "deployments.apps",
        "HTTPRoute": "httproutes.gateway.networking.k8s.io",
        "InferenceService": "inferenceservices.serving.kserve.io",
    }
    return groups.get(kind, kind.lower())
