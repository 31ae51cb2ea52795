"""Rules about the resources around the InferenceService: networks, names, budgets, monitors, accounts."""

from __future__ import annotations

import math
from collections.abc import Iterator

from generator.destinations import destinations
from generator.plan import ManifestPlan
from generator.problems import Problem, problem
from generator.resources import containers
from generator.resources.accounts import is_made
from generator.resources.watching import objectives
from generator.spec.values import seconds
from monitoring.objectives import Unfit

MAX_LABEL = 63
MAX_CRON_JOB_NAME = 52  # Kubernetes appends the time


def network_policy(plan: ManifestPlan) -> Iterator[Problem]:
    """A policy that blocks a needed connection only shows later, as a timeout."""
    policy = plan.spec.network_policy
    if policy is None:
        return
    if not policy.from_namespaces and not policy.allow_from:
        yield problem("network_policy.from_namespaces", "nobody could call: expected the namespaces of the callers")
    used = containers.http_port(plan)
    (unused,) = {containers.HTTP, containers.HTTPS} - {used}
    for number, peer in enumerate(policy.allow_from):
        if unused in peer.ports:
            why = f"with{'' if plan.spec.auth.tls_secret else 'out'} auth.tls_secret"
            yield problem(
                f"network_policy.allow_from.{number}.ports", f"{why} nothing listens on {unused}: expected {used}"
            )
    for needed in destinations(plan):
        if not needed.is_known and not policy.allow_to:
            own = " or tracking.namespace, if it runs in the cluster" if needed.what == "the tracking server" else ""
            yield problem(
                "network_policy.allow_to",
                f"the pods could not reach {needed.what} ({needed.path}): expected its cidr or namespace here{own}",
            )


def budget(plan: ManifestPlan) -> Iterator[Problem]:
    """A budget that never allows a pod to be evicted blocks drains of nodes forever."""
    limits = plan.spec.disruption_budget
    if isinstance(limits, str):
        return
    pods = plan.spec.replicas.min
    if (limits.min_available is None) == (limits.max_unavailable is None):
        yield problem("disruption_budget", "expected one of min_available and max_unavailable")
    elif limits.min_available is not None and count(limits.min_available, pods) >= pods:
        yield problem(
            "disruption_budget.min_available",
            f"{limits.min_available} of replicas.min {pods} allows no eviction, so no node could be drained: "
            "expected less, or more replicas",
        )
    elif limits.max_unavailable is not None and count(limits.max_unavailable, 100) == 0:
        yield problem(
            "disruption_budget.max_unavailable", "allows no eviction, so no node could be drained: expected more than 0"
        )


def count(share: int | str, pods: int) -> int:
    """The number of pods; percentages are rounded up, as in Kubernetes."""
    return share if isinstance(share, int) else math.ceil(int(share.rstrip("%")) * pods / 100)


def monitoring(plan: ManifestPlan) -> Iterator[Problem]:
    settings = plan.spec.monitoring
    if settings.scrape == "servicemonitor" and plan.knative:
        yield problem("monitoring.scrape", "Knative has separate Services for each revision: expected podmonitor")
    elif settings.scrape == "servicemonitor" and (plan.spec.batcher or plan.spec.payload_logger):
        yield problem(
            "monitoring.scrape",
            "the Service points to KServe's agent for the batcher or the payload logger: expected podmonitor",
        )
    if seconds(settings.interval) <= 0:
        yield problem("monitoring.interval", "expected more than 0s")
    for field in ("slo", "runbooks"):
        if field in settings.model_fields_set and not settings.rules:
            yield problem(f"monitoring.{field}", "is used by the alerts only: expected monitoring.rules: true with it")
    try:
        objectives(plan)
    except Unfit as error:
        where = ["monitoring.slo", *([error.field] if error.field else [])]
        yield problem(".".join(where), error.message)


def exposure(plan: ManifestPlan) -> Iterator[Problem]:
    settings = plan.spec.exposure
    if settings.host is None:
        return
    if settings.visibility == "cluster-local":
        yield problem(
            "exposure.host",
            "exposes the serve, while exposure.visibility keeps it in the cluster: expected one of them",
        )
    if "." not in settings.host or settings.host.endswith((".svc", ".cluster.local")):
        yield problem("exposure.host", f"{settings.host} is not a public name: expected such as fraud.example.com")
    if plan.spec.auth.tls_secret and not plan.knative:
        yield problem(
            "exposure.host",
            "the gateway calls the pods over plain HTTP: leave auth.tls_secret out, and let the gateway terminate TLS",
        )


def mesh(plan: ManifestPlan) -> Iterator[Problem]:
    istio = plan.spec.istio
    if istio is None:
        return
    callers = [name for name in ("principals", "namespaces") if getattr(istio, name)]
    if not callers and not istio.issuer:
        yield problem("istio", "allows nobody to call: expected principals, namespaces or issuer")
    if plan.knative:
        for name in callers:
            yield problem(
                f"istio.{name}",
                "all calls come from Knative's ingress and activator: expected issuer, or mode: Standard",
            )
    if istio.issuer and (plan.spec.auth.tokens or plan.spec.auth.admin_tokens):
        yield problem(
            "istio.issuer",
            "Istio refuses tokens that are not JWTs, so those of auth.tokens and auth.admin_tokens never arrive: "
            "expected auth.jwt, or one of them",
        )


def accounts(plan: ManifestPlan) -> Iterator[Problem]:
    if plan.strategy == "container" and plan.spec.storage.secrets and not is_made(plan):
        yield problem(
            "storage.secrets",
            "KServe fetches the model with the Secrets listed in the ServiceAccount: expected service_account.create: "
            "true, or your own account that lists them",
        )


def cache(plan: ManifestPlan) -> Iterator[Problem]:
    settings = plan.spec.storage.cache
    if plan.spec.storage.strategy not in ("auto", "pvc"):
        for name in ("create", "cleanup"):
            if getattr(settings, name):
                yield problem(
                    f"storage.cache.{name}",
                    f"there is no cache with storage.strategy: {plan.strategy}: expected auto or pvc",
                )
    if settings.cleanup and len(settings.claim) + len("-cleanup") > MAX_CRON_JOB_NAME:
        yield problem(
            "storage.cache.claim",
            f"is too long: expected at most {MAX_CRON_JOB_NAME} characters with -cleanup appended",
        )


def runtime(plan: ManifestPlan) -> Iterator[Problem]:
    """KServe merges the reference over the runtime, whose probes and security context cannot be removed."""
    if plan.knative and plan.spec.protocol == "grpc" and plan.spec.predictor == "runtime" and not plan.spec.runtime:
        yield problem(
            "predictor",
            "Knative probes the gRPC port, while our ServingRuntimes use HTTP probes: expected container, or your own "
            "runtime",
        )
    if plan.spec.predictor == "runtime" and plan.strategy != "container":
        yield problem(
            "storage.strategy",
            "KServe takes a model that it does not download for one of several in a server, and adds an agent whose "
            "mounts collide: expected container, or predictor: container",
        )
    if plan.spec.predictor == "runtime" and plan.spec.security == "off" and not plan.spec.runtime:
        yield problem(
            "security",
            "our ServingRuntimes set a security context that a reference cannot remove: expected fields such as "
            "read_only_root: false, predictor: container, or your own runtime",
        )


def names(plan: ManifestPlan) -> Iterator[Problem]:
    """KServe derives names of Deployments and Services, a label, and a host name from the serve's name."""
    workloads = {"name": plan.workload}
    if plan.canary and not plan.knative:
        workloads["canary.name"] = f"{plan.spec.name}-{plan.canary.name}-predictor"
    for where, workload in workloads.items():
        longest = workload if plan.knative else max(f"isvc.{workload}", f"{workload}-{plan.spec.namespace}", key=len)
        if len(longest) > MAX_LABEL:
            yield problem(where, f"KServe derives {longest}, which is longer than {MAX_LABEL} characters: shorten it")


RULES = [network_policy, budget, monitoring, exposure, mesh, accounts, cache, runtime, names]
