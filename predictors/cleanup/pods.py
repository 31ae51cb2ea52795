"""Lists the pods of a cluster that may use a cached model, through the official client.

It needs the permission to list pods in the namespace. Every unclear answer is a ClusterError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from predictors.cluster import CONNECT, MAX_ATTEMPTS, READ, ClusterError, address, connect, one_line, reason

EVERYWHERE = "*"
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PAGE_SIZE = 500
EXPIRED = 410
ENDED_PHASES = frozenset({"Succeeded", "Failed"})  # no container of the pod will run again


class ClusterRefused(ClusterError):
    """The permission to list these pods is missing."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs or may still run, including pending ones and those that are being created."""

    namespace: str
    name: str
    uid: str
    text: str
    """All strings of its annotations and its spec, one per line: commands, arguments, environment, mounts, volumes."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Cluster:
    """Connects when it is first used: the client takes a moment to import."""

    def live_pods(self, namespace: str) -> list[Pod]:
        """All pods that have not ended, of one namespace or EVERYWHERE."""
        for _ in range(MAX_ATTEMPTS):
            try:
                return list(self.listed(namespace))
            except Expired:
                continue  # a new list is complete again
        raise ClusterError(f"{self.server} did not list its pods: its pages expired {MAX_ATTEMPTS} times")

    def listed(self, namespace: str) -> Iterator[Pod]:
        page = ""
        while True:
            response = self.page(namespace, page)
            try:
                yield from filter(None, map(live_pod, response["items"]))
                page = response["metadata"].get("continue") or ""
            except (KeyError, TypeError, AttributeError) as error:
                raise ClusterError(f"{self.server} did not answer with a list of pods") from error
            if not page:
                return

    def page(self, namespace: str, page: str) -> Any:
        """The raw response: the client's own classes would refuse pods of a newer cluster."""
        client = self.client
        from kubernetes.client import ApiException, CoreV1Api
        from urllib3.exceptions import HTTPError

        api = CoreV1Api(client)
        options: dict[str, Any] = {"limit": PAGE_SIZE, "_preload_content": False, "_request_timeout": (CONNECT, READ)}
        if page:
            options["_continue"] = page
        try:
            if namespace == EVERYWHERE:
                response = api.list_pod_for_all_namespaces(**options)
            else:
                response = api.list_namespaced_pod(namespace, **options)
            status, body, phrase = response.status, response.data, response.reason
        except ApiException as error:
            if not error.status:
                raise ClusterError(f"{self.server} cannot be reached: {one_line(error)}") from error
            status, body, phrase = error.status, error.body, error.reason
        except HTTPError as error:
            raise ClusterError(f"{self.server} cannot be reached: {reason(error)}") from error
        except Exception as error:  # raised by credential plugins, among others
            raise ClusterError(f"{self.server} cannot be asked: {one_line(error)}") from error
        try:
            content = json.loads(body)
        except (TypeError, ValueError):
            content = None
        if status == EXPIRED and page:
            raise Expired
        if not 200 <= status <= 299:
            why = content.get("message") if isinstance(content, dict) else None
            place = "in all namespaces" if namespace == EVERYWHERE else f"in namespace {namespace}"
            message = f"{self.server} does not list the pods {place}: {status} {why or phrase or ''}".rstrip()
            raise (ClusterRefused if status == 403 else ClusterError)(message)
        return content

    @cached_property
    def client(self) -> Any:
        """Uses the service account in a pod, a kubeconfig file elsewhere."""
        return connect()

    @property
    def server(self) -> str:
        return address(self.client)


class Expired(Exception):
    """The list whose next page was requested has expired."""


def live_pod(item: dict[str, Any]) -> Pod | None:
    if (item.get("status") or {}).get("phase") in ENDED_PHASES:
        return None
    metadata = item["metadata"]
    text = "\n".join(strings([metadata.get("annotations"), item.get("spec")]))
    return Pod(metadata["namespace"], metadata["name"], metadata.get("uid") or "", text)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
