"""The NetworkPolicy: who may reach the pods, and what they may reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from generator.destinations import destinations
from generator.plan import ManifestPlan
from generator.resources import containers
from generator.resources.meta import POD_LABEL, Resource, resource
from generator.spec.network import Peer

Rule = dict[str, Any]
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Label that Kubernetes puts on every namespace."""
DNS_PORT = 53
BOTH = ("UDP", "TCP")
AGENT_PORT = 9081
# Ports of Knative's proxy in front of the predictor, which the autoscaler scrapes.
QUEUE_HTTP, QUEUE_HTTP2, QUEUE_TLS = 8012, 8013, 8112
AUTOSCALING_PORT = 9090
ISTIOD_PORT = 15012


def resources_of(plan: ManifestPlan) -> list[Resource]:
    if plan.spec.network_policy is None:
        return []
    content = {
        "spec": {
            "podSelector": {"matchLabels": {POD_LABEL: plan.spec.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": distinct(ingress(plan)),
            "egress": distinct(egress(plan)),
        }
    }
    return [resource(plan, "networking.k8s.io/v1", "NetworkPolicy", plan.spec.name, content)]


def ingress(plan: ManifestPlan) -> Iterable[Rule]:
    """Callers, Knative's components and Prometheus. Probes of the kubelet are always allowed."""
    policy, scraped = plan.spec.network_policy, plan.spec.monitoring
    assert policy is not None  # noqa: S101 - checked by resources_of
    if policy.from_namespaces:
        yield rule("from", [namespace(name) for name in policy.from_namespaces], serving(plan))
    for peer in policy.allow_from:
        yield rule("from", [selector(peer)], peer.ports)
    if plan.knative:
        yield rule("from", [namespace("knative-serving")], [*serving(plan), AUTOSCALING_PORT])
    if scraped.namespace and scraped.scrape != "off":
        yield rule("from", [namespace(scraped.namespace)], [containers.http_port(plan)])


def egress(plan: ManifestPlan) -> Iterable[Rule]:
    policy = plan.spec.network_policy
    assert policy is not None  # noqa: S101 - checked by resources_of
    for peer in policy.dns or [Peer(namespace="kube-system", ports=[DNS_PORT])]:
        yield rule("to", [selector(peer)], peer.ports or [DNS_PORT], BOTH)
    for known in destinations(plan):
        if known.namespace:
            yield rule("to", [namespace(known.namespace)], known.ports)
        elif known.cidr:
            yield rule("to", [{"ipBlock": {"cidr": known.cidr}}], known.ports)
    for peer in policy.allow_to:
        yield rule("to", [selector(peer)], peer.ports)
    if plan.spec.istio:
        # Without its control plane the proxy in the pod never becomes ready.
        yield rule("to", [namespace("istio-system")], [ISTIOD_PORT])


def serving(plan: ManifestPlan) -> list[int]:
    """The ports for predictions."""
    if plan.knative:
        return [QUEUE_HTTP2 if plan.spec.protocol == "grpc" else QUEUE_HTTP, QUEUE_TLS]
    agent = [AGENT_PORT] if plan.spec.batcher or plan.spec.payload_logger else []
    return [port["containerPort"] for port in containers.ports(plan)] + agent


def rule(direction: str, peers: list[Rule], ports: Iterable[int], protocols: Sequence[str] = ("TCP",)) -> Rule:
    listed = [
        {"protocol": protocol, "port": port} for port in ports for protocol in (BOTH if port == DNS_PORT else protocols)
    ]
    return {direction: peers} | ({"ports": listed} if listed else {})


def namespace(name: str) -> Rule:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}}


def selector(peer: Peer) -> Rule:
    if peer.namespace is None:
        return {"ipBlock": {"cidr": peer.cidr}}
    return namespace(peer.namespace) | ({"podSelector": {"matchLabels": peer.pod_labels}} if peer.pod_labels else {})


def distinct(rules: Iterable[Rule]) -> list[Rule]:
    """The rules without duplicates: features and models may have the same source."""
    unique: list[Rule] = []
    for one in rules:
        if one not in unique:
            unique.append(one)
    return unique
