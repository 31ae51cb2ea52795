"""Who may reach the predictor, what it may reach, and by which names it is known."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from generator.spec.values import Labels, Name, Part, Port, Subdomain, matching

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
    """Only these may call, and only these are called; DNS and the tracking server are let through by themselves."""

    from_namespaces: list[Name] = Field(
        [], description="namespaces whose pods may call; those of gateways and Prometheus as well"
    )
    allow_from: list[Peer] = []
    """who else may call"""
    allow_to: list[Peer] = Field([], description="object stores, Feast and whatever else the pods need")


class Exposure(Part):
    """Where callers find it."""

    visibility: Literal["external", "cluster-local"] = "external"
    """whether callers outside the cluster reach it"""
    domain_suffix: Subdomain | None = Field(
        None, description="what the platform appends to names; only said in messages and docs of the serve"
    )
    host: Subdomain | None = Field(
        None, description="a name of its own, by an HTTPRoute (Standard) or a DomainMapping (Knative)"
    )
    gateway: str = Field("kserve/kserve-ingress-gateway", description="namespace/name of the Gateway for the HTTPRoute")


class Istio(Part):
    """Rules of the mesh: which identities may call, and whose JWTs are good."""

    principals: list[str] = Field([], description="such as cluster.local/ns/shop/sa/checkout")
    namespaces: list[Name] = []
    """namespaces whose workloads may call"""
    issuer: str | None = None
    """whose JWTs are good"""
    jwks_uri: str | None = None
    """where its keys are; found by the issuer when left out"""
    audiences: list[str] = []
    """for whom the JWTs must be made"""

    @model_validator(mode="after")
    def keys_need_an_issuer(self) -> Istio:
        if (self.jwks_uri or self.audiences) and not self.issuer:
            raise ValueError("jwks_uri and audiences need an issuer")
        return self
