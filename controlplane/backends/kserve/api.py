"""The API of a cluster. No other module knows the client library; its configuration and connections are used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from controlplane.backends.backend import BackendAway
from controlplane.backends.kserve.fields import MANAGER
from controlplane.backends.kserve.kinds import POD, Resource, ResourceKind, kind_of, title

CONNECT_SECONDS, READ_SECONDS = 3.0, 20.0
WATCH_SECONDS = 240
KINDS_SECONDS = 60.0
AWAY_SECONDS = 5.0
PAGE = 500  # objects in one reply
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
AWAY = (401, 429)
"""Statuses that say nothing of the object that was asked for, beside all from 500 on."""


class ApiStatus(Exception):
    """The API has refused a request; the message is one line."""

    def __init__(self, status: int, reply: Mapping[str, Any]) -> None:
        super().__init__(" ".join(str(reply.get("message") or f"the API answers {status}").split())[:2000])
        self.status, self.reason = status, str(reply.get("reason", ""))


class ClusterAway(BackendAway):
    """It may have a thousand serves, which are not all to be tried again at once."""

    retry_seconds = 10.0


class KubernetesApi:
    """One cluster. Raises BackendAway if it does not answer, and ApiStatus if it refuses."""

    def __init__(self, context: str) -> None:
        configuration = Configuration()
        try:
            if not context and "KUBERNETES_SERVICE_HOST" in os.environ and SERVICE_ACCOUNT.exists():
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(
                    os.environ.get("KUBECONFIG"), context=context or None, client_configuration=configuration
                )
        except Exception as error:  # the file may be broken in any way
            raise ClusterAway(f"the cluster {context or 'of the kubeconfig'} is not configured: {error}") from None
        self.configuration, self.host = configuration, configuration.host
        self.pool: urllib3.PoolManager = ApiClient(configuration).rest_client.pool_manager
        self.away_until = 0.0
        """By the monotonic clock: what waits for other clusters is not kept waiting for this one."""
        self.known: dict[str, set[str]] = {}
        self.known_at = -KINDS_SECONDS

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: Any) -> Any:
        """The reply as JSON."""
        response = self.send(method, path, body, kind, query)
        return orjson.loads(response.data) if response.data else None

    def send(
        self, method: str, path: str, body: Any, kind: str, query: Mapping[str, Any], stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        if time.monotonic() < self.away_until:
            raise ClusterAway("the cluster did not answer a moment ago")
        headers = {"accept": "application/json", "content-type": kind}
        for setting in self.configuration.auth_settings().values():
            if setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        url = f"{self.host}{path}" + (f"?{asked}" if asked else "")
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS + (WATCH_SECONDS if stream else 0))
        try:
            response = self.pool.request(
                method, url, headers=headers, body=None if body is None else orjson.dumps(body),
                timeout=timeout, retries=False, preload_content=not stream,
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            self.away_until = time.monotonic() + AWAY_SECONDS
            raise ClusterAway(f"the cluster does not answer: {type(error).__name__}") from None
        if response.status >= 400:
            raise refusal(response)
        return response

    # -- objects ------------------------------------------------------------------------------------------------

    def kinds(self, wanted: tuple[ResourceKind, ...]) -> list[ResourceKind]:
        """Those that the cluster knows."""
        if time.monotonic() - self.known_at >= KINDS_SECONDS:
            self.known, self.known_at = {}, time.monotonic()
        return [each for each in wanted if each.plural in self.plurals(each.api_version)]

    def plurals(self, api_version: str) -> set[str]:
        known = self.known.get(api_version)
        if known is None:
            try:
                reply = self.request("GET", f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}")
                known = {each["name"] for each in reply["resources"]}
            except ApiStatus as error:
                if error.status != 404:
                    raise ClusterAway(str(error)) from None
                known = set()
            self.known[api_version] = known
        return known

    def get(self, kind: ResourceKind, namespace: str, name: str) -> Resource | None:
        try:
            found: Resource = self.request("GET", kind.path(namespace, name))
        except ApiStatus as error:
            if error.status != 404:
                raise ClusterAway(str(error)) from None
            return None
        return found

    def listed(self, kind: ResourceKind, namespace: str, selector: str) -> list[Resource]:
        items: list[Resource] = []
        following: str | None = ""
        while following is not None:
            try:
                query: dict[str, Any] = {"labelSelector": selector, "limit": PAGE, "continue": following or None}
                reply = self.request("GET", kind.path(namespace), **query)
            except ApiStatus as error:
                raise ClusterAway(str(error)) from None  # not allowed, or its list has expired
            items += ({**each, "apiVersion": kind.api_version, "kind": kind.kind} for each in reply["items"])
            following = reply["metadata"].get("continue") or None
        return items

    def apply(self, resource: Resource, take_over: bool = False, dry_run: bool = False) -> Resource:
        """Server-side apply; the object as it is afterwards."""
        kind, about = kind_of(resource), resource["metadata"]
        if not self.kinds((kind,)):
            raise ApiStatus(404, {"message": f"the cluster knows no {kind.kind} ({kind.api_version})"})
        result: Resource = self.request(
            "PATCH", kind.path(about["namespace"], about["name"]), resource, "application/apply-patch+yaml",
            fieldManager=MANAGER, force="true" if take_over else "false", dryRun="All" if dry_run else None,
        )  # fmt: skip
        return result

    def patch(self, kind: ResourceKind, namespace: str, name: str, change: Any, manager: str) -> None:
        """Changes what a merge patch names of an object that is there."""
        path, type_ = kind.path(namespace, name), "application/merge-patch+json"
        self.request("PATCH", path, change, type_, fieldManager=manager)

    def disown(self, resource: Resource, manager: str) -> None:
        """Takes a manager's claim to fields away; their values stay."""
        about = resource["metadata"]
        others = [each for each in about["managedFields"] if each.get("manager") != manager]
        body = {"metadata": {"managedFields": others, "resourceVersion": about["resourceVersion"]}}
        path = kind_of(resource).path(about["namespace"], about["name"])
        self.request("PATCH", path, body, "application/merge-patch+json", fieldManager=MANAGER)

    def delete(self, resource: Resource) -> None:
        """Deletes this very object, and not one of the same name that was made meanwhile."""
        about = resource["metadata"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": about["uid"]}}
        try:
            self.request("DELETE", kind_of(resource).path(about["namespace"], about["name"]), body)
        except ApiStatus as error:
            if error.status not in (404, 409):
                raise ClusterAway(f"{title(resource)} cannot be deleted: {error}") from None

    def logs(self, namespace: str, pod: str, container: str, lines: int) -> str:
        path = f"{POD.path(namespace, pod)}/log"
        try:
            response = self.send("GET", path, None, "application/json", {"container": container, "tailLines": lines})
        except ApiStatus as error:
            return f"{error}\n"
        return response.data.decode(errors="replace")

    def watch(self, kind: ResourceKind, namespace: str, selector: str) -> Iterator[Resource]:
        """Objects that change from now on, until the API ends the watch."""
        version = self.request("GET", kind.path(namespace), limit=1)["metadata"]["resourceVersion"]
        query = {
            "labelSelector": selector, "watch": "true", "timeoutSeconds": WATCH_SECONDS, "resourceVersion": version,
        }  # fmt: skip
        response = self.send("GET", kind.path(namespace), None, "application/json", query, stream=True)
        try:
            rest = b""
            for chunk in response.stream(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        return
                    yield event["object"]
        except urllib3.exceptions.HTTPError as error:
            raise ClusterAway(f"the watch has ended: {type(error).__name__}") from None
        finally:
            response.close()


def refusal(response: urllib3.BaseHTTPResponse) -> Exception:
    try:
        reply = orjson.loads(response.data)
    except orjson.JSONDecodeError:
        reply = {}
    status = response.status
    error = ApiStatus(status, reply if isinstance(reply, dict) else {})
    return ClusterAway(f"the cluster answers {status}: {error}") if status in AWAY or status >= 500 else error
