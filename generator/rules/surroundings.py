"""What does not go together around the InferenceService: networks, names, budgets, monitors, accounts."""

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

LABEL = 63
CRON_JOB = 52  # Kubernetes adds the time to it


def network_policy(plan: ManifestPlan) -> Iterator[Problem]:
    """A policy without a gap for something needed shows as a timeout, long after it was applied."""
    wanted = plan.spec.network_policy
    if wanted is None:
        return
    if not wanted.from_namespaces and not wanted.allow_from:
        yield problem("network_policy.from_namespaces", "nobody could call: expected the namespaces whose pods may")
    used = containers.http(plan)
    (unused,) = {containers.HTTP, containers.HTTPS} - {used}
    for number, peer in enumerate(wanted.allow_from):
        if unused in peer.ports:
            why = f"with{'' if plan.spec.auth.tls_secret else 'out'} auth.tls_secret"
            yield problem(
                f"network_policy.allow_from.{number}.ports", f"{why} nothing listens on {unused}: expected {used}"
            )
    for needed in destinations(plan):
        if not needed.is_known and not wanted.allow_to:
            own = " or tracking.namespace, if it runs in the cluster" if needed.what == "the tracking server" else ""
            yield problem(
                "network_policy.allow_to",
                f"the pods could not reach {needed.what} ({needed.path}): expected its cidr or namespace here{own}",
            )


def budget(plan: ManifestPlan) -> Iterator[Problem]:
    """A budget that never lets a pod go keeps nodes from being drained for ever."""
    wanted = plan.spec.disruption_budget
    if isinstance(wanted, str):
        return
    pods = plan.spec.replicas.min
    if (wanted.min_available is None) == (wanted.max_unavailable is None):
        yield problem("disruption_budget", "expected one of min_available and max_unavailable")
    elif wanted.min_available is not None and count(wanted.min_available, pods) >= pods:
        yield problem(
            "disruption_budget.min_available",
            f"{wanted.min_available} of replicas.min {pods} lets no pod go, so no node could be drained: "
            "expected less, or more replicas",
        )
    elif wanted.max_unavailable is not None and count(wanted.max_unavailable, 100) == 0:
        yield problem(
            "disruption_budget.max_unavailable", "lets no pod go, so no node could be drained: expected more than 0"
        )


def count(share: int | str, pods: int) -> int:
    """As Kubernetes does it: percentages are rounded up."""
    return share if isinstance(share, int) else math.ceil(int(share.rstrip("%")) * pods / 100)


def monitoring(plan: ManifestPlan) -> Iterator[Problem]:
    wanted = plan.spec.monitoring
    if wanted.scrape == "servicemonitor" and plan.knative:
        yield problem("monitoring.scrape", "Knative makes other Services for each revision: expected podmonitor")
    elif wanted.scrape == "servicemonitor" and (plan.spec.batcher or plan.spec.payload_logger):
        yield problem(
            "monitoring.scrape",
            "KServe's agent, for the batcher or the payload logger, stands behind the Service: expected podmonitor",
        )
    if seconds(wanted.interval) <= 0:
        yield problem("monitoring.interval", "expected more than 0s")
    for field in ("slo", "runbooks"):
        if field in wanted.model_fields_set and not wanted.rules:
            yield problem(f"monitoring.{field}", "nothing asks for it: expected monitoring.rules: true with it")
    try:
        objectives(plan)
    except Unfit as error:
        where = ["monitoring.slo", *([error.field] if error.field else [])]
        yield problem(".".join(where), error.message)


def exposure(plan: ManifestPlan) -> Iterator[Problem]:
    wanted = plan.spec.exposure
    if wanted.host is None:
        return
    if wanted.visibility == "cluster-local":
        yield problem(
            "exposure.host", "makes visible what exposure.visibility keeps in the cluster: expected one of both"
        )
    if "." not in wanted.host or wanted.host.endswith((".svc", ".cluster.local")):
        yield problem(
            "exposure.host", f"{wanted.host} is no name for callers outside: expected such as fraud.example.com"
        )
    if plan.spec.auth.tls_secret and not plan.knative:
        yield problem(
            "exposure.host",
            "the gateway speaks plain HTTP to the pods: leave auth.tls_secret out, and let the gateway do TLS",
        )


def mesh(plan: ManifestPlan) -> Iterator[Problem]:
    wanted = plan.spec.istio
    if wanted is None:
        return
    callers = [name for name in ("principals", "namespaces") if getattr(wanted, name)]
    if not callers and not wanted.issuer:
        yield problem("istio", "lets nobody call: expected principals, namespaces or issuer")
    if plan.knative:
        for name in callers:
            yield problem(
                f"istio.{name}",
                "Knative's ingress and activator make the calls for everybody: expected issuer, or mode: Standard",
            )
    if wanted.issuer and (plan.spec.auth.tokens or plan.spec.auth.admin_tokens):
        yield problem(
            "istio.issuer",
            "Istio refuses a token that is no JWT, so those of auth.tokens and auth.admin_tokens never arrive: "
            "expected auth.jwt, or one of both",
        )


def accounts(plan: ManifestPlan) -> Iterator[Problem]:
    if plan.strategy == "container" and plan.spec.storage.secrets and not is_made(plan):
        yield problem(
            "storage.secrets",
            "KServe fetches the model, with the Secrets that the ServiceAccount lists: expected "
            "service_account.create: true, or an account of yours that lists them",
        )


def cache(plan: ManifestPlan) -> Iterator[Problem]:
    wanted = plan.spec.storage.cache
    if plan.spec.storage.strategy not in ("auto", "pvc"):
        for name in ("create", "cleanup"):
            if getattr(wanted, name):
                yield problem(
                    f"storage.cache.{name}",
                    f"nothing is cached with storage.strategy: {plan.strategy}: expected auto or pvc",
                )
    if wanted.cleanup and len(wanted.claim) + len("-cleanup") > CRON_JOB:
        yield problem(
            "storage.cache.claim", f"the clean-up's name may have {CRON_JOB} characters with -cleanup after it"
        )


def runtime(plan: ManifestPlan) -> Iterator[Problem]:
    """KServe lays the reference over the runtime, and a probe may ask in one way only."""
    if plan.knative and plan.spec.protocol == "grpc" and plan.spec.predictor == "runtime" and not plan.spec.runtime:
        yield problem(
            "predictor",
            "Knative probes the gRPC port, and our ServingRuntimes say to do it over HTTP: expected container, "
            "or a runtime of yours",
        )
    if plan.spec.predictor == "runtime" and plan.spec.security == "off" and not plan.spec.runtime:
        yield problem(
            "security",
            "our ServingRuntimes say what a container may do, and a reference cannot take it back: expected fields of "
            "it such as read_only_root: false, predictor: container, or a runtime of yours",
        )


def names(plan: ManifestPlan) -> Iterator[Problem]:
    """KServe makes names of the serve's: of Deployments and Services, a label, and a part of a host name."""
    workloads = {"name": plan.workload}
    if plan.canary and not plan.knative:
        workloads["canary.name"] = f"{plan.spec.name}-{plan.canary.name}-predictor"
    for where, workload in workloads.items():
        longest = workload if plan.knative else max(f"isvc.{workload}", f"{workload}-{plan.spec.namespace}", key=len)
        if len(longest) > LABEL:
            yield problem(
                where, f"KServe makes {longest} of it, where {LABEL} characters are the most: make it shorter"
            )


RULES = [network_policy, budget, monitoring, exposure, mesh, accounts, cache, runtime, names]
