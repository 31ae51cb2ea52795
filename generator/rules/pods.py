"""Rules about the pods: sidecars, resources, settings, nodes, volumes and variables."""

from __future__ import annotations

from collections.abc import Iterator

from generator.plan import ManifestPlan
from generator.problems import Path, Problem, problem
from generator.resources.environment import MODEL_DIR
from generator.resources.volumes import ours
from generator.spec.values import quantity, seconds

SCRAPING = "serving.kserve.io/enable-prometheus-scraping"
OURS = {
    "PYTHONPATH": "KServe's webhook refuses it",
    "STORAGE_URI": "the model comes from 'model', and who fetches it from 'storage.strategy'",
    "PROTOCOL": "it comes from 'protocol'",
}
SAID_ELSEWHERE = {
    "serving.kserve.io/deploymentMode": "mode",
    "serving.kserve.io/autoscalerClass": "scaling.by",
    "networking.kserve.io/visibility": "exposure.visibility",
}
# Settings of the predictor that the rest of the pod relies on: with others it would never be ready, or end too early.
RELIED_ON = {
    "http_port": "probes, Service and monitors ask the port that it has",
    "grpc_port": "the Service leads to the port that it has",
    "model_name": "it is 'name'",
    "model_local_path": "it is where the model is put",
    "model_dir": "it is where the model is put",
    "drain_delay": "say drain_delay instead",
    "grace_period": "say grace_period instead",
    "ssl_certfile": "say auth.tls_secret instead",
    "ssl_keyfile": "say auth.tls_secret instead",
    "ssl_ca_certs": "probes have no certificate to show",
}
# Other names of the same.
ALSO = {
    "MODEL_NAME": "model_name",
    "MODEL_LOCAL_PATH": "model_local_path",
    "KSERVE_TLS_CERT_FILE": "ssl_certfile",
    "KSERVE_TLS_KEY_FILE": "ssl_keyfile",
}
KNATIVES = ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")


def sidecars(plan: ManifestPlan) -> Iterator[Problem]:
    """KServe's agent stands between callers and the predictor; it speaks HTTP, and batches V1."""
    spec = plan.spec
    if spec.batcher and spec.protocol != "v1":
        yield problem(
            "batcher",
            f"KServe's batcher knows 'instances' of V1 only, not {spec.protocol}: leave it out, the predictor batches",
        )
    for name, part in (("batcher", spec.batcher), ("payload_logger", spec.payload_logger)):
        if part and spec.protocol == "grpc" and name != "batcher":
            yield problem(name, "KServe's agent passes on HTTP only, not gRPC: leave it out, or use protocol: v2")
        if part and spec.auth.tls_secret:
            yield problem(
                name, "KServe's agent speaks to the predictor in plain text: leave out one of this and auth.tls_secret"
            )


def resources(plan: ManifestPlan) -> Iterator[Problem]:
    for name, served in (("cores", plan.stable.cores), ("memory", plan.stable.memory)):
        limit = getattr(plan.spec.resources.limits, name)
        if limit is not None and quantity(limit) < quantity(served):
            yield problem(f"resources.limits.{name}", f"{limit} is less than the {served} that a pod asks for")


def settings(plan: ManifestPlan) -> Iterator[Problem]:
    """Settings of the predictor, as variables and as flags, that contradict the pod around it."""
    said: dict[Path, tuple[str, str]] = {}
    for variable, value in plan.spec.env.items():
        name = ALSO.get(variable) or variable.removeprefix("MLFLOW_KSERVE_").lower()
        said["env", variable] = (name, value if isinstance(value, str) else "")
    args = plan.spec.args
    for position, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        following = args[position + 1] if position + 1 < len(args) else ""
        if flag.startswith("--"):
            said["args", position] = (flag[2:].replace("-", "_"), value if equals else following)
    for where, (name, value) in said.items():
        if name in RELIED_ON:
            yield Problem(where, f"cannot be set here: {RELIED_ON[name]}")
        elif name == "protect" and "health" in value:
            yield Problem(where, "probes have no token to show, so no pod would be ready: expected metrics at most")
        elif (
            name == "protect" and "metrics" in value and plan.spec.monitoring.scrape in ("podmonitor", "servicemonitor")
        ):
            yield Problem(
                where,
                "the monitor has no token to show: say monitoring.scrape: off, and write one with its authorization",
            )


def placement(plan: ManifestPlan) -> Iterator[Problem]:
    wanted, known = plan.spec.node_capacity, plan.spec.node_capacities
    if wanted is not None and wanted not in known:
        yield problem(
            "node_capacity", f"{wanted!r} is not in node_capacities: expected {' or '.join(known) or 'an entry there'}"
        )


def pods(plan: ManifestPlan) -> Iterator[Problem]:
    """Names and paths that are taken, variables that are set elsewhere, times that do not add up."""
    spec = plan.spec
    for name in sorted(spec.env.keys() & OURS.keys()):
        yield problem(f"env.{name}", f"cannot be set here: {OURS[name]}")
    if plan.knative:
        for name in sorted(spec.env.keys() & set(KNATIVES)):
            yield problem(f"env.{name}", "cannot be set here: Knative sets it")
    for field, keys in (("annotations", spec.annotations), ("labels", spec.labels)):
        for key in sorted(keys.keys() & SAID_ELSEWHERE.keys()):
            yield Problem((field, key), f"say {SAID_ELSEWHERE[key]} instead")
    if not plan.knative and spec.annotations.get(SCRAPING) == "true":
        yield Problem(
            ("annotations", SCRAPING),
            "names the port of Knative's proxy, which Standard has not got: leave it out, monitoring.scrape does it",
        )
    taken = ours(plan)
    names, paths = {volume.name for volume in taken}, {MODEL_DIR, *(volume.path for volume in taken)}
    for position, mount in enumerate(spec.volumes):
        if plan.knative and mount.csi and not mount.read_only:
            yield Problem(("volumes", position, "read_only"), "Knative mounts such a volume only so: leave it out")
        if not mount.path.strip("/"):
            yield Problem(("volumes", position, "path"), "would hide the image: expected a folder below /")
        sources = [mount.secret, mount.config_map, mount.pvc, mount.empty_dir, mount.csi]
        if sum(source is not None for source in sources) != 1:
            yield Problem(("volumes", position), "expected exactly one of secret, config_map, pvc, empty_dir and csi")
        for field, value, others in (("name", mount.name, names), ("path", mount.path.rstrip("/"), paths)):
            if value in others:
                yield Problem(("volumes", position, field), f"{value!r} is taken already")
            others.add(value)
    if seconds(spec.probes.start_within) < seconds(spec.probes.period):
        yield problem("probes.start_within", f"expected at least the period of {spec.probes.period}")


RULES = (sidecars, resources, settings, placement, pods)
