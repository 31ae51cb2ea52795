"""Carries the traffic of Knative's ingresses through the gateway, as HTTPRoutes; Knative's own ones are no Go modules."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.cluster.parts.api import Document, client

POLL_INTERVAL = 0.2
INGRESSES = "/apis/networking.internal.knative.dev/v1alpha1"
ROUTES = "/apis/gateway.networking.k8s.io/v1"
LISTENERS = {"ExternalIP": "http", "ClusterLocal": "local"}
BALANCER = {"ingress": [{"domainInternal": "local-gateway.knative-serving.svc.cluster.local"}]}
CONDITIONS = ("LoadBalancerReady", "NetworkConfigured", "Ready")


def routes_of(ingress: Document) -> Iterator[Document]:
    """An HTTPRoute for each rule: who may see it is the listener that it is attached to."""
    about = ingress["metadata"]
    owner = {"apiVersion": ingress["apiVersion"], "kind": ingress["kind"], "name": about["name"], "uid": about["uid"]}
    for number, rule in enumerate(ingress["spec"]["rules"]):
        gateway = {"name": "kserve-ingress-gateway", "namespace": "kserve"}
        yield {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "name": f"{about['name']}-{number}",
                "namespace": about["namespace"],
                "ownerReferences": [owner],
            },
            "spec": {
                "parentRefs": [{**gateway, "sectionName": LISTENERS[rule.get("visibility", "ExternalIP")]}],
                "hostnames": rule["hosts"],
                "rules": [rule_of(path) for path in rule["http"]["paths"]],
            },
        }


def rule_of(path: Document) -> Document:
    headers = [{"name": name, "value": match["exact"]} for name, match in path.get("headers", {}).items()]
    match = {
        "path": {"type": "PathPrefix", "value": path.get("path") or "/"},
        **({"headers": headers} if headers else {}),
    }
    filters = header_filters(path)
    if "rewriteHost" in path:
        filters.append({"type": "URLRewrite", "urlRewrite": {"hostname": path["rewriteHost"]}})
    backends = [
        {
            "name": split["serviceName"],
            "namespace": split["serviceNamespace"],
            "port": split["servicePort"],
            "weight": split.get("percent", 100),
            "filters": header_filters(split),
        }
        # Older revisions keep their places: the gateway's names for what is behind a rule go by them.
        for split in sorted(path["splits"], key=lambda one: str(one["serviceName"]))
    ]
    return {"matches": [match], "filters": filters, "backendRefs": backends}


def header_filters(described: Document) -> list[Document]:
    pairs = [{"name": name, "value": value} for name, value in described.get("appendHeaders", {}).items()]
    return [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": pairs}}] if pairs else []


def accepted(route: Document) -> bool:
    """Whether the gateway has this generation of a route."""
    return any(
        condition["type"] == "Accepted"
        and condition["status"] == "True"
        and condition["observedGeneration"] == route["metadata"]["generation"]
        for parent in route.get("status", {}).get("parents", [])
        for condition in parent["conditions"]
    )


def ready(ingress: Document) -> Document:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in CONDITIONS]
    return {
        "status": {
            "observedGeneration": ingress["metadata"]["generation"],
            "publicLoadBalancer": BALANCER,
            "privateLoadBalancer": BALANCER,
            "conditions": conditions,
        }
    }


def reconcile(api: httpx.Client, ingress: Document) -> None:
    about = ingress["metadata"]
    routes = [apply_route(api, route) for route in routes_of(ingress)]
    if all(map(accepted, routes)):
        path = f"{INGRESSES}/namespaces/{about['namespace']}/ingresses/{about['name']}/status"
        headers = {"Content-Type": "application/merge-patch+json"}
        api.patch(path, json=ready(ingress), headers=headers).raise_for_status()
        split = [
            (one["serviceName"], one.get("percent"))
            for one in ingress["spec"]["rules"][0]["http"]["paths"][0]["splits"]
        ]
        print(time.strftime("%T"), about["namespace"], about["name"], split, flush=True)


def apply_route(api: httpx.Client, route: Document) -> Document:
    about = route["metadata"]
    reply = api.patch(
        f"{ROUTES}/namespaces/{about['namespace']}/httproutes/{about['name']}",
        params={"fieldManager": "knative-ingress", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(route),
    )
    reply.raise_for_status()
    made: Document = reply.json()
    return made


def main() -> None:
    api = client()
    while True:
        try:
            listed: dict[str, Any] = api.get(f"{INGRESSES}/ingresses").raise_for_status().json()
            for ingress in listed["items"]:
                if ingress.get("status", {}).get("observedGeneration") != ingress["metadata"]["generation"]:
                    reconcile(api, ingress)
        except httpx.HTTPError as error:
            print(time.strftime("%T"), error, flush=True)
        time.sleep(POLL_INTERVAL)


if __name__ == "__main__":
    main()
