"""Rules about the pods: sidecars, resources, settings, nodes, volumes and variables."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Path, Problem, problem
from generator.resources.environment import MODEL_DIR
from generator.resources.volumes import own_volumes
from generator.spec.values import quantity, seconds

SCRAPING = "serving.kserve.io/enable-prometheus-scraping"
RESERVED = {
    "PYTHONPATH": "KServe's webhook refuses it",
    "STORAGE_URI": "the model comes from 'model', and who fetches it from 'storage.strategy'",
    "PROTOCOL": "it comes from 'protocol'",
}
SET_ELSEWHERE = {
    "serving.kserve.io/deploymentMode": "mode",
    "serving.kserve.io/autoscalerClass": "scaling.by",
    "networking.kserve.io/visibility": "exposure.visibility",
}
# Settings of the predictor that must match the pod: otherwise it would never become ready, or end too early.
FIXED = {
    "http_port": "probes, the Service and monitors use its port",
    "grpc_port": "the Service points to its port",
    "model_name": "it is 'name'",
    "model_local_path": "the model is placed there",
    "model_dir": "the model is placed there",
    "drain_delay": "set drain_delay instead",
    "grace_period": "set grace_period instead",
    "ssl_certfile": "set auth.tls_secret instead",
    "ssl_keyfile": "set auth.tls_secret instead",
    "ssl_ca_certs": "probes have no client certificate",
}
# Other names of the same settings.
ALIASES = {
    "MODEL_NAME": "model_name",
    "MODEL_LOCAL_PATH": "model_local_path",
    "KSERVE_TLS_CERT_FILE": "ssl_certfile",
    "KSERVE_TLS_KEY_FILE": "ssl_keyfile",
}
SET_BY_KNATIVE = ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")


def sidecars(plan: ManifestPlan) -> Iterator[Problem]:
    """KServe's agent between callers and the predictor supports HTTP, and batches V1 only."""
    spec = plan.spec
    if spec.batcher and spec.protocol != "v1":
        yield problem(
            "batcher",
            f"KServe's batcher supports 'instances' of V1 only, not {spec.protocol}: leave it out, the predictor "
            "batches",
        )
    for name, part in (("batcher", spec.batcher), ("payload_logger", spec.payload_logger)):
        if part and spec.protocol == "grpc" and name != "batcher":
            yield problem(name, "KServe's agent forwards HTTP only, not gRPC: leave it out, or use protocol: v2")
        if part and spec.auth.tls_secret:
            yield problem(
                name, "KServe's agent calls the predictor in plain text: leave out one of this and auth.tls_secret"
            )


def resources(plan: ManifestPlan) -> Iterator[Problem]:
    for name, served in (("cores", plan.stable.cores), ("memory", plan.stable.memory)):
        limit = getattr(plan.spec.resources.limits, name)
        if limit is not None and quantity(limit) < quantity(served):
            yield problem(f"resources.limits.{name}", f"{limit} is less than the request of {served}")


def settings(plan: ManifestPlan) -> Iterator[Problem]:
    """Settings of the predictor, as variables or flags, that contradict the pod."""
    declared: dict[Path, tuple[str, str]] = {}
    for variable, value in plan.spec.env.items():
        name = ALIASES.get(variable) or variable.removeprefix("MLFLOW_KSERVE_").lower()
        declared["env", variable] = (name, value if isinstance(value, str) else "")
    args = plan.spec.args
    for position, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        following = args[position + 1] if position + 1 < len(args) else ""
        if flag.startswith("--"):
            declared["args", position] = (flag[2:].replace("-", "_"), value if equals else following)
    for where, (name, value) in declared.items():
        if name in FIXED:
            yield Problem(where, f"cannot be set here: {FIXED[name]}")
        elif name == "protect" and "health" in value:
            yield Problem(where, "probes have no token, so no pod would become ready: expected metrics at most")
        elif (
            name == "protect" and "metrics" in value and plan.spec.monitoring.scrape in ("podmonitor", "servicemonitor")
        ):
            yield Problem(
                where,
                "the monitor has no token: set monitoring.scrape: off, and write one with its authorization",
            )


def placement(plan: ManifestPlan) -> Iterator[Problem]:
    kind, known = plan.spec.node_capacity, plan.spec.node_capacities
    if kind is not None and kind not in known:
        yield problem(
            "node_capacity", f"{kind!r} is not in node_capacities: expected {' or '.join(known) or 'an entry there'}"
        )


def pods(plan: ManifestPlan) -> Iterator[Problem]:
    """Conflicts of names, paths and variables, and probes that cannot work."""
    spec = plan.spec
    for name in sorted(spec.env.keys() & RESERVED.keys()):
        yield problem(f"env.{name}", f"cannot be set here: {RESERVED[name]}")
    if plan.knative:
        for name in sorted(spec.env.keys() & set(SET_BY_KNATIVE)):
            yield problem(f"env.{name}", "cannot be set here: Knative sets it")
    for field, keys in (("annotations", spec.annotations), ("labels", spec.labels)):
        for key in sorted(keys.keys() & SET_ELSEWHERE.keys()):
            yield Problem((field, key), f"set {SET_ELSEWHERE[key]} instead")
    if not plan.knative and spec.annotations.get(SCRAPING) == "true":
        yield Problem(
            ("annotations", SCRAPING),
            "refers to the port of Knative's proxy, which Standard lacks: leave it out, monitoring.scrape does it",
        )
    existing = own_volumes(plan)
    names, paths = {volume.name for volume in existing}, {MODEL_DIR, *(volume.path for volume in existing)}
    for position, mount in enumerate(spec.volumes):
        if plan.knative and mount.csi and not mount.read_only:
            yield Problem(("volumes", position, "read_only"), "Knative mounts CSI volumes read-only: leave it out")
        if not mount.path.strip("/"):
            yield Problem(("volumes", position, "path"), "would hide the image: expected a folder below /")
        sources = [mount.secret, mount.config_map, mount.pvc, mount.empty_dir, mount.csi]
        if sum(source is not None for source in sources) != 1:
            yield Problem(("volumes", position), "expected exactly one of secret, config_map, pvc, empty_dir and csi")
        for field, value, others in (("name", mount.name, names), ("path", mount.path.rstrip("/"), paths)):
            if value in others:
                yield Problem(("volumes", position, field), f"{value!r} is already in use")
            others.add(value)
    if seconds(spec.probes.start_within) < seconds(spec.probes.period):
        yield problem("probes.start_within", f"expected at least the period of {spec.probes.period}")


RULES = (sidecars, resources, settings, placement, pods)
