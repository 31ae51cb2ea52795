"""Rules about canaries: what each way to split the traffic needs, and refuses."""

from __future__ import annotations

from collections.abc import Iterator

from generator.canary_serve import NEXT
from generator.plan import ManifestPlan, Served
from generator.problems import Path, Problem, problem
from generator.spec import Canary


def canary(plan: ManifestPlan) -> Iterator[Problem]:
    """What every way to split the traffic needs."""
    spec = plan.spec
    listed = list(positions(plan))
    if spec.variants and spec.canary is None:
        yield problem("variants", "are beside a canary: expected canary with it")
    if len({each.by for _, each in listed}) > 1:
        yield problem("variants", "and canary are split in two ways: expected the same 'by' in all of them")
    if (total := sum(each.percent for _, each in listed)) > 100:
        yield problem("canary.percent", f"the canaries get {total} % together: expected at most 100")
    names = [each.name or NEXT for _, each in listed]
    for number, (path, each) in enumerate(listed):
        if names.index(names[number]) < number:
            yield Problem((*path, "name"), f"{names[number]!r} is the name of another canary: expected one of its own")
        if plan.knative or each.by == "kserve":
            why = "Knative splits by percent only" if plan.knative else "KServe splits by percent only"
            for name in ("shadow", "testers"):
                if getattr(each, name) is not None:
                    yield Problem((*path, name), f"{why}: leave it out, or use mode: Standard with by: route")
    if spec.variants and not spec.is_split_by_route:
        yield problem("variants", "need mode: Standard with by: route: expected one canary only")


def positions(plan: ManifestPlan) -> Iterator[tuple[Path, Canary]]:
    """The canaries, with their places in the spec."""
    if plan.spec.canary:
        yield ("canary",), plan.spec.canary
    for number, each in enumerate(plan.spec.variants):
        yield ("variants", number), each


def by_knative(plan: ManifestPlan) -> Iterator[Problem]:
    canary_spec, served = plan.spec.canary, plan.canary
    if not plan.knative or canary_spec is None or served is None:
        return
    yield from unchanged(plan, ("canary",), served)
    for name in ("name", "replicas"):
        if getattr(canary_spec, name) is not None:
            yield problem(f"canary.{name}", "is for mode: Standard; Knative names and scales revisions itself")
    if canary_spec.by == "kserve":
        yield problem("canary.by", "is for mode: Standard; in Knative the split is always KServe's: leave it out")


def unchanged(plan: ManifestPlan, path: Path, served: Served) -> Iterator[Problem]:
    if (served.uri, served.image) == (plan.stable.uri, plan.stable.image):
        yield Problem(
            (*path, "model"), "is the stable model with the same image: expected another version, or another image"
        )


def by_route(plan: ManifestPlan) -> Iterator[Problem]:
    """A route of ours needs the names that KServe gives the serve, and callers who come through the gateway."""
    exposure = plan.spec.exposure
    wanted = bool(plan.behind) or exposure.route == "own"
    if plan.knative:
        for name in ("hosts", "route", "retries", "service"):
            if name in exposure.model_fields_set:
                yield problem(f"exposure.{name}", "is for mode: Standard; Knative makes its own routes: leave it out")
        return
    if wanted and exposure.visibility == "cluster-local":
        yield problem(
            "canary" if plan.behind else "exposure.route",
            "callers inside the cluster go to the Service, past any route: expected exposure.visibility: external, or "
            "mode: Knative",
        )
    elif wanted and not plan.hosts:
        yield problem(
            "exposure.domain_suffix",
            "the route needs the host names that KServe gives the serve: expected KServe's ingressDomain here, or "
            "exposure.hosts; the commands of a rollout ask the cluster with --apply",
        )
    if exposure.retries == "route" and not (wanted or exposure.host):
        yield problem(
            "exposure.retries",
            "is a field of our routes, and KServe's leads to the serve: expected exposure.route: own, or envoy-gateway",
        )
    if exposure.service in (plan.spec.name, plan.workload):
        yield problem("exposure.service", f"{exposure.service} is a name that KServe uses: expected another one")
    components = plan.spec.patch.get("spec") or {}
    for name in ("transformer", "explainer"):
        if wanted and name in components:
            yield Problem(
                ("patch", "spec", name),
                "a route of ours leads to the predictor, past it: expected canary.by and exposure.route: kserve",
            )
    for (path, _), behind in zip(positions(plan), plan.behind, strict=False):
        if behind.spec.patch == plan.spec.patch:  # otherwise the serve is to become more than another model
            yield from unchanged(plan, path, behind.stable)


def by_kserve(plan: ManifestPlan) -> Iterator[Problem]:
    """Requirements of spec.canary[], which Standard mode has since 0.20."""
    canary_spec, served = plan.spec.canary, plan.canary
    if plan.knative or canary_spec is None or served is None:
        return
    if plan.kserve_version < (0, 20):
        yield problem(
            "canary.by",
            f"KServe {plan.spec.kserve} supports no canary in Standard mode, and ignores canaryTrafficPercent there: "
            "expected by: route, or mode: Knative",
        )
    if plan.strategy != "container":
        yield problem(
            "canary.by",
            "KServe distinguishes the predictors of a canary by their storageUri: expected by: route, or "
            f"storage.strategy: container (it is {plan.strategy}), which needs the ClusterStorageContainer",
        )
    if served.uri == plan.stable.uri:
        yield problem("canary.model", "is the stable model: KServe promotes a canary only if the model's URI changes")
    for name, part in (("batcher", plan.spec.batcher), ("payload_logger", plan.spec.payload_logger)):
        if part:
            yield problem(
                name,
                "KServe's agent is not added to a canary with by: kserve: leave it out, or use by: route",
            )
    if served.name == plan.stable.name:
        yield problem("canary.name", f"{served.name!r} is the name of the stable predictor: expected another one")
    if canary_spec.replicas is not None and canary_spec.replicas > max(plan.spec.replicas.min, 1):
        yield problem(
            "canary.replicas", f"KServe allows at most replicas.min of the stable predictor ({plan.spec.replicas.min})"
        )


RULES = (canary, by_knative, by_route, by_kserve)
