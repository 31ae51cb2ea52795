"""Environments: where serves run, with what they have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from controlplane.domain.bodies import Body, EnvironmentName, Text
from controlplane.domain.infra import STAND_IN, overlay_problems, spec_problems
from controlplane.domain.overlays import merged
from controlplane.domain.problems import FieldProblem

WRAPPER = "environment_configs"


class Quotas(Body):
    """What all serves of an environment may have together; no limit where nothing is said."""

    serves: Annotated[int, Field(strict=True, ge=0)] | None = None
    replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    """maximum number of replicas, counted with the maximum of each serve"""
    cores: Annotated[float, Field(ge=0)] | None = None
    memory: Annotated[float, Field(ge=0)] | None = None
    """GiB"""


class Protection(Body):
    """Who may change what is deployed, beyond the roles."""

    second_person: bool = False
    """whether a change waits until another person, who is approver there, has approved it"""
    approval_hours: Annotated[float, Field(gt=0, le=720)] = 24.0
    """how long it waits"""
    deployers: Annotated[list[Annotated[str, Field(max_length=190)]], Field(max_length=100)] = []  # noqa: RUF012
    """the callers that may begin changes, with the names that they have in events; default: whoever is deployer"""


class EnvironmentConfig(Body):
    """The configuration of an environment."""

    backend: Literal["local", "kserve"] = "local"
    """where its serves run: as processes of the control plane's machine, or as InferenceServices of a cluster"""
    kube_context: Annotated[str, Field(max_length=253)] = ""
    """context of the control plane's kubeconfig; default: the cluster that it runs in, or else the current context"""
    mode: Literal["Standard", "Knative"] = "Standard"
    """KServe's deployment mode"""
    image_registry: Text = ""
    """registry of the predictor's images"""
    image_tag: Annotated[str, Field(max_length=128)] = ""
    """tag of the predictor's images"""
    tracking_secret: Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")] = ""
    """Secret of the namespace with the credentials of the tracking server"""
    ingress_class: Text = "alb"
    """class of the cluster's ingresses; with alb, security_group and subnets become annotations of theirs"""
    domain_suffix: Text = ""
    """suffix of the addresses of serves, such as .mycompany.com"""
    cluster_name: Text = ""
    namespace: Annotated[str, Field(max_length=63, pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    security_group: Text = ""
    """security groups, separated by commas"""
    subnets: Text = ""
    """subnets, separated by commas"""
    ft_redis_url: Text = ""
    """URL of the feature store's Redis; serves get it as FT_REDIS_URL"""
    workflow_url: Text = ""
    """URL of the workflow service; serves get it as WORKFLOW_URL"""
    tracking_uri: Text = ""
    """URL of the MLflow tracking server; default: that of the control plane's own environment"""
    prometheus_url: Text = ""
    """URL of a Prometheus that scrapes the pods, for verdicts on rollouts; default: the pods are asked themselves"""
    quotas: Quotas = Quotas()
    protection: Protection = Protection()
    spec: dict[str, Any] = {}  # noqa: RUF012 - pydantic gives every instance its own
    """defaults of the spec for serves of this environment"""

    @field_validator("ft_redis_url", "workflow_url", "tracking_uri", "prometheus_url")
    @classmethod
    def without_password(cls, url: str) -> str:
        if "@" in url.partition("://")[2].partition("/")[0] and ":" in url.partition("://")[2].partition("@")[0]:
            raise ValueError("holds a password, which is not stored: name a secret in the serve's variables instead")
        return url

    @property
    def place(self) -> tuple[str, str, str]:
        """Where its serves are; it cannot change while there are any."""
        return self.backend, self.kube_context, self.namespace


def spec_of_environment(config: EnvironmentConfig) -> dict[str, Any]:
    """What an environment says of its serves, in the words of the spec; its own `spec` goes further."""
    words: dict[str, Any] = {"namespace": config.namespace}
    if config.backend == "kserve":
        tracking = {"uri": config.tracking_uri, "secret": config.tracking_secret}
        words |= {
            "mode": config.mode,
            "image_registry": config.image_registry,
            "image_tag": config.image_tag,
            "tracking": {name: value for name, value in tracking.items() if value},
            "exposure": {"domain_suffix": config.domain_suffix.lstrip(".")} if config.domain_suffix else {},
            "annotations": load_balancer(config),
        }
    return merged({name: value for name, value in words.items() if value}, config.spec)


def load_balancer(config: EnvironmentConfig) -> dict[str, str]:
    """The annotations that KServe hands on to ingresses, which AWS's controller makes load balancers of."""
    if config.ingress_class != "alb":
        return {}
    said = {"security-groups": config.security_group, "subnets": config.subnets}
    return {f"alb.ingress.kubernetes.io/{name}": value for name, value in said.items() if value}


WORDS = {
    "tracking.uri": "tracking_uri",
    "tracking.secret": "tracking_secret",
    "exposure.domain_suffix": "domain_suffix",
}
"""Fields that the spec calls otherwise."""


def config_problems(config: EnvironmentConfig) -> list[FieldProblem]:
    """What no serve could be rendered with. Asked once, when it is said: what is stored has been asked."""
    listed = [
        FieldProblem(f"spec.{each.field.removeprefix('spec.')}", each.reason) for each in overlay_problems(config.spec)
    ]
    if config.backend != "kserve" or listed:
        return listed
    if not config.namespace:
        return [FieldProblem("namespace", "is missing", "the namespace that serves of the back end kserve are in")]
    for each in spec_problems({**STAND_IN, **spec_of_environment(config)}):
        word = each.field.removeprefix("spec.")
        listed.append(FieldProblem(WORDS.get(word, word), each.reason))
    return listed


class NewEnvironment(EnvironmentConfig):
    """The body that makes an environment."""

    name: EnvironmentName

    def config(self) -> EnvironmentConfig:
        return EnvironmentConfig(**self.model_dump(exclude={"name"}))
