"""Decides what the spec leaves open, and gives the reason for each decision."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from generator.canary_serve import canary_serve
from generator.facts import ModelFacts
from generator.problems import SpecError, problem
from generator.scaler import Clock, Maker, Scaler, clock_of, completed, maker_of, max_of, rule_of, scaler_of
from generator.spec import Canary, ServeSpec
from generator.spec.scaling import Scaling
from generator.spec.values import canonical, quantity, seconds
from predictors.flavor import image_of
from predictors.uris import ModelURI

T = TypeVar("T")
MIB = 2**20
LARGE_MODEL = 2**30  # bytes from which a cache on a volume pays for itself
Strategy = Literal["container", "emptydir", "pvc", "server"]


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a serve, the stable one or the canary, with its image and requests."""

    uri: str
    flavor: str
    forced: bool
    """Whether the flavor comes from the spec rather than from the MLmodel file."""
    image: str
    cores: str
    memory: str
    name: str | None = None
    """The name of its predictor, if it has one."""
    features: str | None = None
    """The features that it declares to get from Feast."""


@dataclass(frozen=True, slots=True)
class Reason:
    value: Any
    why: str


@dataclass
class ManifestPlan:
    """A spec with all decisions made."""

    spec: ServeSpec
    stable: Served
    canary: Served | None
    """The canary of Knative or of KServe's spec.canary, inside the same InferenceService."""
    strategy: Strategy
    scaler: Scaler
    scaling: Scaling
    """The scaling of the spec, with a default rule if it has none."""
    clock: Clock | None
    """What starts and ends the windows of the schedule."""
    scaled_object: Maker | None
    """Whether KServe or the generator makes KEDA's ScaledObject."""
    max_replicas: int
    part_of: ServeSpec | None = None
    """The serve that this one is a canary of."""
    behind: list[ManifestPlan] = field(default_factory=list)
    """The canaries that are serves of their own, behind the same route as this one."""
    reasons: dict[str, Reason] = field(default_factory=dict)

    @property
    def knative(self) -> bool:
        return self.spec.mode == "Knative"

    @property
    def model_name(self) -> str:
        """The name of the model in URLs, which a canary shares with its serve."""
        return (self.part_of or self.spec).name

    @property
    def has_own_route(self) -> bool:
        """Whether an HTTPRoute of ours leads to the serve, and KServe makes none."""
        external = self.spec.exposure.visibility == "external"
        return not self.knative and external and bool(self.behind or self.spec.exposure.route == "own")

    @property
    def hosts(self) -> list[str]:
        """The host names that KServe gives the serve, as far as the spec tells."""
        spec, exposure = self.spec, self.spec.exposure
        if exposure.hosts or not exposure.domain_suffix:
            return exposure.hosts
        return [f"{name}-{spec.namespace}.{exposure.domain_suffix}" for name in (spec.name, self.workload)]

    @property
    def kserve_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.spec.kserve.split("."))

    @property
    def knows_registry(self) -> bool:
        """Whether the predictor knows a tracking server."""
        spec = self.spec
        return bool(spec.tracking.uri or spec.tracking.secret or spec.env_from or "MLFLOW_TRACKING_URI" in spec.env)

    @property
    def follows(self) -> bool:
        """Whether the predictor downloads other versions while it serves."""
        reload = self.spec.reload
        polls = reload.interval is None or seconds(reload.interval) > 0 or reload.webhook_secret is not None
        uris = [self.stable.uri, *([self.canary.uri] if self.canary else [])]
        moves = polls and any(ModelURI.parse(uri).is_moving for uri in uris)
        return self.knows_registry and (moves or self.spec.candidate is not None)

    @property
    def workload(self) -> str:
        """The name that KServe gives the Deployment or the Knative Service of the stable predictor."""
        revision = f"-{self.spec.revision}" if self.spec.revision else ""
        return f"{self.spec.name}{revision}-predictor"

    @property
    def termination(self) -> int:
        """Seconds for a pod to end, which is longer than the server needs."""
        return math.ceil(seconds(self.spec.drain_delay)) + math.ceil(seconds(self.spec.grace_period)) + 10


def decide(
    spec: ServeSpec,
    facts: Mapping[str, ModelFacts] | None = None,
    part_of: ServeSpec | None = None,
    becomes: ServeSpec | None = None,
) -> ManifestPlan:
    """The plan for a spec; `facts` are those of the models, by URI.

    `becomes` is what the serve is to be once its canary is promoted, where that is more than another model.
    """
    facts = facts or {}
    reasons: dict[str, Reason] = {}

    def because(where: str, decision: tuple[T, str]) -> T:
        reasons[where] = Reason(*decision)
        return decision[0]

    known = facts.get(spec.model)
    size = quantity(spec.model_size) if spec.model_size else known.size if known else None
    flavor = because("flavor", flavor_of(spec, known))
    cores = because("resources.cores", cores_of(spec, flavor))
    memory = because("resources.memory", memory_of(spec, flavor, size))
    for name, request in (("cores", cores), ("memory", memory)):
        limit = getattr(spec.resources.limits, name)
        because(f"resources.limits.{name}", (limit, "set in the spec") if limit else (request, "the request"))
    because("disruption_budget", budget_of(spec))
    scaler = because("scaling.by", scaler_of(spec))
    clock = because("scaling.schedule", clock_of(spec, scaler)) if spec.scaling.schedule else None
    if rule := rule_of(spec, scaler, clock, cores):
        because(f"scaling.{rule[0]}", rule[1:])
    inside = spec.canary if not spec.is_split_by_route else None
    max_replicas = because("replicas.max", max_of(spec, scaler))
    return ManifestPlan(
        spec=spec,
        stable=Served(
            uri=spec.model,
            flavor=flavor,
            forced=spec.flavor is not None,
            image=because("image", image_for(spec, flavor)),
            cores=cores,
            memory=memory,
            name=spec.revision,
            features=known.features if known else None,
        ),
        canary=canary_of(spec, inside, flavor, facts.get(inside.model), because) if inside else None,
        strategy=because("storage.strategy", strategy_of(spec, size)),
        scaler=scaler,
        scaling=completed(spec, rule),
        clock=clock,
        scaled_object=because("scaling.scaled_object", maker_of(spec, clock)) if scaler == "keda" else None,
        max_replicas=max_replicas,
        part_of=part_of,
        behind=[
            decide(beside(becomes or spec, each, facts), facts, spec)
            for each in (spec.canaries if spec.is_split_by_route else [])
        ],
        reasons=reasons,
    )


def beside(spec: ServeSpec, canary: Canary, facts: Mapping[str, ModelFacts]) -> ServeSpec:
    """The spec of a canary that is a serve of its own."""
    scaler, _ = scaler_of(spec)
    flavor, _ = flavor_of(spec, facts.get(spec.model))
    return canary_serve(spec, canary, flavor, facts.get(canary.model), scaler, max_of(spec, scaler)[0])


def flavor_of(spec: ServeSpec, known: ModelFacts | None) -> tuple[str, str]:
    if spec.flavor:
        return spec.flavor, "set in the spec"
    if known:
        return known.flavor, "from the model's MLmodel file"
    raise SpecError(
        [problem("flavor", f"is not known for {spec.model}: expected one of the flavors, such as flavor: sklearn")]
    )


def image_for(spec: ServeSpec, flavor: str) -> tuple[str, str]:
    if spec.image:
        return spec.image, "set in the spec"
    return (
        image_of(flavor, registry=spec.image_registry, tag=spec.image_tag),
        f"the image for the flavor {flavor}, with image_registry and image_tag",
    )


def canary_of(
    spec: ServeSpec,
    canary: Canary,
    stable: str,
    known: ModelFacts | None,
    because: Callable[[str, tuple[str, str]], str],
) -> Served:
    """The canary; what neither the spec nor its MLmodel file says is as for the stable model."""
    if canary.flavor:
        flavor = canary.flavor, "set in the spec"
    elif known:
        flavor = known.flavor, "from its MLmodel file"
    else:
        flavor = stable, "that of the stable model"
    because("canary.flavor", flavor)
    name = None
    if spec.mode == "Standard":
        named = (canary.name, "set in the spec") if canary.name else (name_for(canary.model), "from its model URI")
        name = because("canary.name", named)
    return Served(
        uri=canary.model,
        flavor=flavor[0],
        forced=canary.flavor is not None or (spec.flavor is not None and known is None),
        image=because(
            "canary.image", (canary.image, "set in the spec") if canary.image else image_for(spec, flavor[0])
        ),
        cores=because("canary.cores", cores_of(spec, flavor[0])),
        memory=because("canary.memory", memory_of(spec, flavor[0], known.size if known else None)),
        name=name,
        features=known.features if known else None,
    )


def name_for(uri: str) -> str:
    """A name for the predictor of a model, derived from its URI."""
    selector = ModelURI.parse(uri).selector or ""
    slug = re.sub(r"[^a-z0-9]+", "-", selector.lower()).strip("-")[:20].strip("-")
    if not slug:
        return "canary"
    return f"v{slug}" if slug[0].isdigit() else slug


def strategy_of(spec: ServeSpec, size: float | None) -> tuple[Strategy, str]:
    strategy = spec.storage.strategy
    if strategy != "auto":
        return strategy, "set in the spec"
    if not ModelURI.parse(spec.model).is_mlflow:
        return "container", "KServe's own storage initializer supports this URI"
    if spec.mode == "Knative":
        return (
            "container",
            "Knative allows no init containers by default; the ClusterStorageContainer supports MLflow's URIs",
        )
    if spec.predictor == "runtime":
        return "container", "the ClusterStorageContainer is installed together with the ServingRuntime"
    if "cache" in spec.storage.model_fields_set and (size is None or size >= LARGE_MODEL):
        return "pvc", "there is a cache, and the model is large or its size is not known"
    if size is not None and size >= LARGE_MODEL:
        return "emptydir", "storage.cache is not set, although a model of this size would benefit"
    return "emptydir", "needs nothing on the cluster" + ("" if size is None else ", and the model is small")


def cores_of(spec: ServeSpec, flavor: str) -> tuple[str, str]:
    if spec.resources.cores:
        return spec.resources.cores, "set in the spec"
    if flavor in ("pytorch", "tensorflow", "transformers"):
        return "2", f"a starting point for {flavor}: measure, and set it"
    return "1", "one core serves thousands of requests per second of a tabular model"


def budget_of(spec: ServeSpec) -> tuple[Any, str]:
    if spec.disruption_budget != "auto":
        return spec.disruption_budget, "set in the spec"
    if spec.replicas.min < 2:
        # A budget would either have no effect, or prevent the node from ever being drained.
        return "off", "with a single pod, a budget would prevent its node from being drained"
    return {"max_unavailable": 1}, "one pod at a time may go when nodes are drained"


def memory_of(spec: ServeSpec, flavor: str, size: float | None) -> tuple[str, str]:
    """Memory for the framework and for three models: the served, the previous and the next one."""
    if spec.resources.memory:
        return spec.resources.memory, "set in the spec"
    base = {"pytorch": 1024, "tensorflow": 1536, "transformers": 1536}.get(flavor, 512)
    log = math.ceil(spec.workers * spec.prediction_log.max_bytes / MIB) if spec.prediction_log else 0
    buffers = f"; and {log}Mi for the buffers of the prediction log" if log else ""
    if size is None:
        return canonical(f"{base * 2 + log}Mi"), f"for {flavor}, without knowing the size of the model{buffers}"
    need = base + 3 * 2 * size / MIB
    rounded = math.ceil((need + log) / 256) * 256
    return (
        canonical(f"{rounded}Mi"),
        f"{base}Mi for {flavor}, and six times the model's {size / MIB:.1f} MiB: "
        f"it takes about twice its size in memory, and there may be three versions at a time{buffers}",
    )
