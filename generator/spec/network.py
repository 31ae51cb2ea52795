"""Who may reach the predictor, what it may reach, and by which names it is known."""

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
    """name of a namespace of this cluster"""
    pod_labels: Labels = {}
    """only pods with these labels"""
    cidr: Cidr | None = None
    """a network, such as 10.0.0.0/8"""
    ports: list[Port] = Field([], description="any port when left out")

    @model_validator(mode="after")
    def one_of_both(self) -> Peer:
        if (self.namespace is None) == (self.cidr is None):
            raise ValueError("expected either a namespace or a cidr")
        if self.cidr and self.pod_labels:
            raise ValueError("pod_labels belong to a namespace, not to a cidr")
        return self


class NetworkPolicy(Part):
    """Only these may call, and only these are called.

    DNS, the tracking server and whatever the spec names by a URL inside of the cluster are let through by themselves.
    """

    from_namespaces: list[Name] = Field(
        [], description="namespaces whose pods may call; calls through a gateway come from the gateway's pods"
    )
    allow_from: list[Peer] = Field([], description="other callers: by their labels, or outside of the cluster")
    allow_to: list[Peer] = Field([], description="object stores and whatever else outside of the cluster the pods need")


class Exposure(Part):
    """Where callers find it."""

    visibility: Literal["external", "cluster-local"] = "external"
    """whether callers outside the cluster reach it"""
    domain_suffix: Subdomain | None = Field(
        None, description="the domain of the cluster's ingress: then the URL to expect is said"
    )
    host: Subdomain | None = Field(
        None, description="a name of its own, by an HTTPRoute (Standard) or a DomainMapping (Knative)"
    )
    gateway: Annotated[str, matching(rf"{DNS_1035}/{DNS_SUBDOMAIN}", "namespace/name of a Gateway")] = Field(
        "kserve/kserve-ingress-gateway", description="namespace/name of the Gateway for the HTTPRoute (Standard)"
    )


class Istio(Part):
    """Rules of the mesh: which identities may call, and whose JWTs are good."""

    principals: list[str] = Field(
        [], description="identities that may call (Standard), such as cluster.local/ns/shop/sa/checkout"
    )
    namespaces: list[Name] = Field([], description="namespaces all of whose identities may call (Standard)")
    issuer: str | None = Field(None, description="whose JWTs are good; then every call needs one")
    jwks_uri: Url | None = Field(None, description="the issuer's keys; found by its discovery document when left out")
    audiences: list[str] = Field([], description="whom a JWT has to be meant for; any when left out")

    @model_validator(mode="after")
    def keys_need_an_issuer(self) -> Istio:
        if (self.jwks_uri or self.audiences) and not self.issuer:
            raise ValueError("jwks_uri and audiences need an issuer")
        return self
