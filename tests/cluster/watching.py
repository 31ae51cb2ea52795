"""Follows the objects of a namespace, and says afterwards whether requests always had where to go."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import urllib3

from controlplane.backends.kserve.api import KubernetesApi
from controlplane.backends.kserve.kinds import BY_NAME, DEPLOYMENT, HTTP_ROUTE, ResourceKind

SERVICE = BY_NAME["v1", "Service"]
KINDS = (HTTP_ROUTE, DEPLOYMENT, SERVICE)
State = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True)
class ObjectEvent:
    version: int
    kind: str
    deleted: bool
    content: dict[str, Any]


class TrafficWatch:
    """From its start on, at every resourceVersion, each back end with a weight must exist and have pods for its share."""

    def __init__(self, api: KubernetesApi, namespace: str, serve: str, pods: int) -> None:
        self.api, self.namespace, self.serve, self.pods = api, namespace, serve, pods
        self.there: State = {}
        self.events: list[ObjectEvent] = []
        self.responses: list[urllib3.BaseHTTPResponse] = []
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> TrafficWatch:
        for kind in KINDS:
            listed = self.api.request("GET", kind.path(self.namespace))
            version = listed["metadata"]["resourceVersion"]
            for each in listed["items"]:
                self.there[kind.kind, each["metadata"]["name"]] = each
            query = {"watch": "true", "timeoutSeconds": 600, "resourceVersion": version}
            response = self.api.send("GET", kind.path(self.namespace), None, "application/json", query, stream=True)
            self.responses.append(response)
            self.threads.append(threading.Thread(target=self.follow, args=(kind, response), name=kind.plural))
            self.threads[-1].start()
        return self

    def __exit__(self, *error: object) -> None:
        for response in self.responses:
            response.shutdown()
        for thread in self.threads:
            thread.join()

    def follow(self, kind: ResourceKind, response: urllib3.BaseHTTPResponse) -> None:
        rest = b""
        try:
            for chunk in response.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    content = event["object"]
                    version = int(content["metadata"]["resourceVersion"])
                    self.events.append(ObjectEvent(version, kind.kind, event["type"] == "DELETED", content))
        except (urllib3.exceptions.HTTPError, OSError):
            pass  # the end of the test

    def states(self) -> Iterator[tuple[int, State]]:
        """What there was after each change."""
        state = dict(self.there)
        for event in sorted(self.events, key=lambda each: each.version):
            key = event.kind, event.content["metadata"]["name"]
            if event.deleted:
                state.pop(key, None)
            else:
                state[key] = event.content
            yield event.version, state

    def failures(self) -> list[str]:
        """Everything that was not as it must be."""
        return [f"{version}: {what}" for version, state in self.states() for what in self.wrong(state)]

    def wrong(self, state: State) -> Iterator[str]:
        host = f"{self.serve}-{self.namespace}."
        routes = [each for (kind, _), each in state.items() if kind == HTTP_ROUTE.kind and leads(each, host)]
        if not routes:
            yield "no route leads to the serve"
        for route in routes:
            backends = route["spec"]["rules"][-1]["backendRefs"]
            total = sum(each.get("weight", 1) for each in backends)
            for each in backends:
                yield from self.lacking(state, route["metadata"]["name"], each["name"], each.get("weight", 1) / total)

    def lacking(self, state: State, route: str, name: str, share: float) -> Iterator[str]:
        if not share:
            return
        if (SERVICE.kind, name) not in state:
            yield f"{route} sends {share:.0%} to {name}, and there is no such Service"
        deployment = state.get((DEPLOYMENT.kind, name), {})
        ready, needed = deployment.get("status", {}).get("readyReplicas", 0), math.ceil(share * self.pods)
        if ready < needed:
            yield f"{route} sends {share:.0%} to {name}, which has {ready} of {needed} pods"


def leads(route: dict[str, Any], host: str) -> bool:
    """Whether callers of a host may follow a route."""
    matches = route["spec"]["rules"][-1]["matches"]
    return route["spec"]["hostnames"][0].startswith(host) and all(one["path"]["type"] != "Exact" for one in matches)
