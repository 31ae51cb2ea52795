"""The pods that a cluster has, as far as they may use a cached model: asked once, through the official client.

The permission to list pods in the namespace is all that it takes. Whatever is not a clear answer is a ClusterError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from predictors.cluster import CONNECT, READ, TRIES, ClusterError, address, connect, one_line, reason

EVERYWHERE = "*"
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
PAGE = 500
EXPIRED = 410
OVER = frozenset({"Succeeded", "Failed"})  # none of its containers runs, or will ever again


class ClusterRefused(ClusterError):
    """These pods are not ours to see."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One that runs, or may yet: pending pods and those that are being created are among them."""

    namespace: str
    name: str
    uid: str
    words: str
    """Every text of its annotations and its spec, a line each: commands, arguments, environment, mounts, volumes."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Cluster:
    """Asks when it is first needed: the client takes a moment to import."""

    def live_pods(self, namespace: str) -> list[Pod]:
        """All that are not over, of one namespace or EVERYWHERE."""
        for _ in range(TRIES):
            try:
                return list(self.listed(namespace))
            except Expired:
                continue  # a list that is begun anew is whole again
        raise ClusterError(f"{self.where} did not list its pods: its pages expired {TRIES} times")

    def listed(self, namespace: str) -> Iterator[Pod]:
        page = ""
        while True:
            reply = self.page(namespace, page)
            try:
                yield from filter(None, map(live, reply["items"]))
                page = reply["metadata"].get("continue") or ""
            except (KeyError, TypeError, AttributeError) as error:
                raise ClusterError(f"{self.where} answered, but not with a list of pods") from error
            if not page:
                return

    def page(self, namespace: str, page: str) -> Any:
        """The reply as it is: the client's own classes would refuse pods of a newer cluster."""
        client = self.client
        from kubernetes.client import ApiException, CoreV1Api
        from urllib3.exceptions import HTTPError

        api = CoreV1Api(client)
        how: dict[str, Any] = {"limit": PAGE, "_preload_content": False, "_request_timeout": (CONNECT, READ)}
        if page:
            how["_continue"] = page
        try:
            if namespace == EVERYWHERE:
                response = api.list_pod_for_all_namespaces(**how)
            else:
                response = api.list_namespaced_pod(namespace, **how)
            status, body, phrase = response.status, response.data, response.reason
        except ApiException as error:
            if not error.status:
                raise ClusterError(f"{self.where} cannot be reached: {one_line(error)}") from error
            status, body, phrase = error.status, error.body, error.reason
        except HTTPError as error:
            raise ClusterError(f"{self.where} cannot be reached: {reason(error)}") from error
        except Exception as error:  # what plugins for credentials raise, among others
            raise ClusterError(f"{self.where} cannot be asked: {one_line(error)}") from error
        try:
            said = json.loads(body)
        except (TypeError, ValueError):
            said = None
        if status == EXPIRED and page:
            raise Expired
        if not 200 <= status <= 299:
            why = said.get("message") if isinstance(said, dict) else None
            wanted = "in all namespaces" if namespace == EVERYWHERE else f"in namespace {namespace}"
            message = f"{self.where} does not list the pods {wanted}: {status} {why or phrase or ''}".rstrip()
            raise (ClusterRefused if status == 403 else ClusterError)(message)
        return said

    @cached_property
    def client(self) -> Any:
        """In a pod as its service account, elsewhere as a kubeconfig file says."""
        return connect()

    @property
    def where(self) -> str:
        return address(self.client)


class Expired(Exception):
    """The cluster has forgotten the list whose next page was asked for."""


def live(item: dict[str, Any]) -> Pod | None:
    if (item.get("status") or {}).get("phase") in OVER:
        return None
    about = item["metadata"]
    said = [about.get("annotations"), item.get("spec")]
    return Pod(about["namespace"], about["name"], about.get("uid") or "", "\n".join(texts(said)))


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
