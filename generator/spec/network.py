"""Network: who may reach the predictor, what it may reach, and its host names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from generator.spec.values import Labels, Name, Part, Port, Subdomain, Url, matching
from monitoring.values import DNS_1035, DNS_SUBDOMAIN

Cidr = Annotated[
    str,
    matching(
        r"(\d{1,3}\.){3}\d{1,3}/\d{1,2}|[0-9a-fA-F:]+/\d{1,3}", "a network: expected such as 10.0.0.0/8 or fd00::/8"
    ),
]


class Peer(Part):
    """One side of a connection: a namespace of the cluster or a network, and ports."""

    namespace: Name | None = None
    """a namespace of this cluster"""
    pod_labels: Labels = {}
    """only pods with these labels"""
    cidr: Cidr | None = None
    """a network, such as 10.0.0.0/8"""
    ports: list[Port] = Field([], description="allowed ports; default: all")

    @model_validator(mode="after")
    def one_kind(self) -> Peer:
        if (self.namespace is None) == (self.cidr is None):
            raise ValueError("expected either a namespace or a cidr")
        if self.cidr and self.pod_labels:
            raise ValueError("pod_labels belong to a namespace, not to a cidr")
        return self


class NetworkPolicy(Part):
    """The only callers and destinations that are allowed.

    DNS, the tracking server and in-cluster URLs in the spec are allowed without being listed.
    """

    from_namespaces: list[Name] = Field(
        [], description="namespaces whose pods may call; calls through a gateway come from its pods"
    )
    allow_from: list[Peer] = Field([], description="other callers: pods by label, or networks outside the cluster")
    dns: list[Peer] = Field(
        [],
        description="where names are resolved, over UDP and TCP, such as openshift-dns with port 5353; default: "
        "kube-system, port 53",
    )
    allow_to: list[Peer] = Field([], description="object stores and other destinations that the pods need")


class Exposure(Part):
    """Host names under which callers reach the serve."""

    visibility: Literal["external", "cluster-local"] = "external"
    """whether callers outside the cluster can reach the serve"""
    domain_suffix: Subdomain | None = Field(
        None, description="domain of the cluster's ingress (KServe's ingressDomain), from which host names follow"
    )
    hosts: list[Subdomain] = Field(
        [], description="host names that KServe gives the serve (Standard); default: from domain_suffix"
    )
    route: Literal["kserve", "own"] = Field(
        "kserve",
        description="whose HTTPRoute leads to the serve (Standard): KServe's, except while there is a canary, or "
        "always one of ours",
    )
    retries: Literal["off", "route", "envoy-gateway"] = Field(
        "off",
        description="who sends a request to another pod when it never reached the first (Standard): 'route' is the "
        "field retry of our HTTPRoutes, 'envoy-gateway' a BackendTrafficPolicy; Istio's gateway does it by itself",
    )
    service: Name | None = Field(
        None,
        description="name of a Service for callers inside the cluster (Standard), which stays when KServe renames its "
        "own in a promotion by canary.by: kserve",
    )
    host: Subdomain | None = Field(
        None, description="additional host name, by an HTTPRoute (Standard) or a DomainMapping (Knative)"
    )
    gateway: Annotated[str, matching(rf"{DNS_1035}/{DNS_SUBDOMAIN}", "namespace/name of a Gateway")] = Field(
        "kserve/kserve-ingress-gateway",
        description="namespace/name of the Gateway for our HTTPRoutes (Standard); default: KServe's",
    )


class Istio(Part):
    """Rules of the Istio mesh: which identities may call, and whose JWTs are accepted."""

    principals: list[str] = Field(
        [], description="identities that may call (Standard), such as cluster.local/ns/shop/sa/checkout"
    )
    namespaces: list[Name] = Field([], description="namespaces whose identities may all call (Standard)")
    issuer: str | None = Field(None, description="issuer of accepted JWTs; every call then needs one")
    jwks_uri: Url | None = Field(None, description="URL of the issuer's keys; default: from its discovery document")
    audiences: list[str] = Field([], description="accepted audiences of JWTs; default: any")

    @model_validator(mode="after")
    def keys_need_an_issuer(self) -> Istio:
        if (self.jwks_uri or self.audiences) and not self.issuer:
            raise ValueError("jwks_uri and audiences need an issuer")
        return self
