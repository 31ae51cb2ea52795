"""What goes together and what does not: refused here before a cluster refuses it, or silently ignores it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from generator.facts import is_mlflow, is_moving, is_unversioned, misspelt, version_wanted
from generator.plan import ManifestPlan
from generator.problems import Path, Problem, problem
from generator.resources.environment import MODEL_DIR
from generator.resources.volumes import ours
from generator.rules import surroundings
from generator.rules.predictions import RULES as PREDICTIONS
from generator.rules.scaling import RULES as SCALING
from generator.rules.schedule import RULES as SCHEDULE
from generator.spec.values import quantity, seconds
from predictors.flavor import BY_NAME

SCRAPING = "serving.kserve.io/enable-prometheus-scraping"
Rule = Callable[[ManifestPlan], Iterator[Problem]]
WITH_UV = "onnx"
"""The family of images that has uv."""
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


def versions(plan: ManifestPlan) -> Iterator[Problem]:
    """What the KServe of the cluster does not know yet."""
    spec = plan.spec
    have = kserve(plan)
    if have < (0, 16):
        yield problem("kserve", f"{spec.kserve} is too old: KServe calls its modes Standard and Knative since 0.16")
    if spec.storage.storage_container and have < (0, 20):
        yield problem(
            "storage.storage_container", f"KServe {spec.kserve} picks by the URI alone: it needs 0.20 or newer"
        )


def kserve(plan: ManifestPlan) -> tuple[int, ...]:
    return tuple(int(part) for part in plan.spec.kserve.split("."))


def knative_or_standard(plan: ManifestPlan) -> Iterator[Problem]:
    """What only one of the modes has."""
    spec = plan.spec
    if not plan.knative:
        if spec.container_concurrency is not None:
            yield problem("container_concurrency", "only Knative limits it: leave it out, or use mode: Knative")
        return
    if spec.rolling:
        yield problem(
            "rolling",
            "KServe refuses it in Knative, which starts a new revision before it ends the old one: leave it out",
        )
    if spec.revision:
        yield problem("revision", "Knative names revisions by itself: leave it out")
    if spec.auth.tls_secret:
        yield problem(
            "auth.tls_secret", "Knative's proxy speaks to the pod in plain text, and does TLS itself: leave it out"
        )
    if seconds(spec.timeout) == 0:
        yield problem("timeout", "Knative takes none for its own default: expected more than 0s")
    elif seconds(spec.grace_period) > seconds(spec.timeout):
        yield problem(
            "grace_period",
            f"Knative ends a pod after the timeout ({spec.timeout}): expected at most that, or a longer timeout",
        )


def canary(plan: ManifestPlan) -> Iterator[Problem]:
    """What KServe asks of a canary in each mode."""
    wanted, served = plan.spec.canary, plan.canary
    if wanted is None or served is None:
        return
    if plan.knative:
        if (served.uri, served.image) == (plan.stable.uri, plan.stable.image):
            yield problem(
                "canary.model", "is the stable model in the same image: expected another version, or another image"
            )
        for name in ("name", "replicas"):
            if getattr(wanted, name) is not None:
                yield problem(
                    f"canary.{name}", "is for mode: Standard; Knative names revisions and counts their pods itself"
                )
        return
    if kserve(plan) < (0, 20):
        yield problem(
            "canary",
            f"KServe {plan.spec.kserve} has none in Standard mode, and ignores canaryTrafficPercent there: "
            "expected 0.20 or newer, or mode: Knative",
        )
    if plan.strategy != "container":
        yield problem(
            "canary",
            "KServe tells the predictors of a canary apart by their storageUri: expected storage.strategy: container "
            f"(it is {plan.strategy}), which needs the ClusterStorageContainer",
        )
    if served.uri == plan.stable.uri:
        yield problem(
            "canary.model", "is the stable model: KServe takes a promotion only where the model's URI changes"
        )
    for name, part in (("batcher", plan.spec.batcher), ("payload_logger", plan.spec.payload_logger)):
        if part:
            yield problem(
                name,
                "KServe's agent does not stand before a canary in Standard mode: leave it out, or use mode: Knative",
            )
    if served.name == plan.stable.name:
        yield problem("canary.name", f"{served.name!r} is the name of the stable predictor: expected another one")
    if wanted.replicas is not None and wanted.replicas > max(plan.spec.replicas.min, 1):
        yield problem(
            "canary.replicas", f"KServe takes at most replicas.min of the stable predictor ({plan.spec.replicas.min})"
        )


def storage(plan: ManifestPlan) -> Iterator[Problem]:
    """Who can fetch what."""
    spec = plan.spec
    for where, uri in (("model", spec.model), *([("canary.model", spec.canary.model)] if spec.canary else [])):
        if "://" not in uri and not is_mlflow(uri):
            yield problem(
                where, f"{uri!r} is not on the cluster: expected a URI such as models:/NAME/VERSION, s3://… or pvc://…"
            )
        if expected := misspelt(uri):
            yield problem(where, f"{uri!r} names no model: {expected}")
        if is_unversioned(uri):
            yield problem(where, f"{uri!r} {version_wanted(uri)}")
        if uri.startswith("pvc://") and plan.strategy != "container":
            yield problem(
                "storage.strategy", f"only KServe itself mounts {uri}: expected container, not {plan.strategy}"
            )
    if spec.storage.storage_container and plan.strategy != "container":
        yield problem("storage.storage_container", f"is not asked with storage.strategy: {plan.strategy}")
    if spec.predictor == "container" and spec.runtime:
        yield problem("runtime", "is not asked by a container of its own: expected predictor: runtime with it")
    for name, said in (
        ("interval", spec.reload.interval and seconds(spec.reload.interval)),
        ("webhook_secret", spec.reload.webhook_secret),
    ):
        if said and is_moving(spec.model) and not plan.knows_registry:
            yield problem(
                f"reload.{name}",
                "the predictor needs the registry to follow an alias: expected tracking.uri or tracking.secret",
            )


def images(plan: ManifestPlan) -> Iterator[Problem]:
    """What our own images have not got; of others nothing is known."""
    spec = plan.spec
    models = [(plan.stable, spec.image)]
    if plan.canary and spec.canary:
        models.append((plan.canary, spec.canary.image or spec.image))
    for served, image in models:
        if image or spec.runtime:
            continue
        if spec.dependencies.env_manager == "uv" and BY_NAME[served.flavor].image != WITH_UV:
            yield problem(
                "dependencies.env_manager",
                f"the image for {served.flavor} has no uv, only that for pyfunc and onnx has: expected virtualenv, or "
                "an image that has it",
            )
        if plan.strategy == "server" and not is_mlflow(served.uri):
            yield problem(
                "storage.strategy",
                f"the predictor's image has no client for {served.uri}: expected emptydir, pvc or container, or "
                "an image that has one",
            )


def features(plan: ManifestPlan) -> Iterator[Problem]:
    """A model that looks features up does not start without somebody to ask."""
    spec = plan.spec
    served = [plan.stable, *([plan.canary] if plan.canary else [])]
    declared = next((one.features for one in served if one.features), None)
    said = [*spec.env, *(arg.partition("=")[0].lstrip("-").replace("-", "_") for arg in spec.args)]
    elsewhere = any(name.lower().removeprefix("mlflow_kserve_").startswith("feast") for name in said)
    if declared and spec.feast is None and not elsewhere:
        yield problem("feast", f"the model gets {declared} from Feast: expected server_url, or repo_path")
    own = spec.image or spec.runtime or spec.dependencies.env_manager != "local"
    if spec.feast and spec.feast.repo_path and not own:
        yield problem("feast.repo_path", "our images do not have Feast: expected server_url, or an image that has it")


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


RULES: list[Rule] = [
    versions,
    knative_or_standard,
    canary,
    storage,
    images,
    features,
    sidecars,
    resources,
    settings,
    placement,
    pods,
    *surroundings.RULES,
    *PREDICTIONS,
    *SCALING,
    *SCHEDULE,
]


def problems(plan: ManifestPlan) -> list[Problem]:
    """Everything that does not go together."""
    return [found for rule in RULES for found in rule(plan)]
