"""Specs over the whole width of what can be said, nearly all of them good."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from generator.spec.canary import FLAVORS

Part = st.SearchStrategy[Any]

NAMES = st.sampled_from(["fraud", "a", "churn-model", "a" * 25])
SECRETS = st.sampled_from(["fraud", "mlflow.credentials", "s3"])
KEYS = st.sampled_from(["token", "tokens.txt"])
DURATIONS = st.sampled_from(["250ms", "1s", "1.5s", "90s", "2m", 30])
MEMORY = st.sampled_from(["512Mi", "1Gi", "4Gi", "1.5Gi", "2G"])
CORES = st.sampled_from(["250m", "1", "2", 0.5, 4])
URIS = st.sampled_from(
    ["models:/fraud/3", "models:/fraud@champion", "runs:/0af3/model", "s3://models/fraud/3", "models:/ml.prod.fraud/3"]
)
OTHER_URIS = st.sampled_from(["models:/fraud/4", "models:/fraud@challenger", "s3://models/fraud/4"])
LABELS = st.dictionaries(
    st.sampled_from(["team", "example.com/cost-center"]), st.sampled_from(["risk", "", "a.b_c-d", 7]), max_size=2
)
ANNOTATIONS = st.dictionaries(st.sampled_from(["note", "example.com/owner"]), st.sampled_from(["any text: 100 %", 7]))
SECRET_KEYS = st.fixed_dictionaries({"secret": SECRETS, "key": KEYS})
TOLERATIONS = st.just([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}])


def part(**fields: Part) -> Part:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


RESOURCES = part(
    cores=CORES,
    memory=st.sampled_from(["512Mi", "1Gi"]),
    gpu=st.integers(0, 2),
    limits=part(cores=st.sampled_from(["4", "8"]), memory=st.sampled_from(["16Gi", "32Gi"])),
)
PLACEMENT = part(
    node_selector=LABELS,
    tolerations=TOLERATIONS,
    topology_spread=st.sampled_from(["zones", "nodes", "off"]),
    priority_class=st.just("high"),
)
SECURITY = st.just("off") | part(
    run_as_user=st.integers(1, 70000),
    fs_group=st.none() | st.integers(0, 70000),
    read_only_root=st.booleans(),
    seccomp=st.sampled_from(["RuntimeDefault", "Unconfined"]),
)
MOUNTS: list[dict[str, Any]] = [
    {"name": "certs", "path": "/certs", "secret": "certs"},
    {"name": "rules", "path": "/rules/", "config_map": "rules", "read_only": True},
    {"name": "scratch", "path": "/scratch", "empty_dir": "1Gi"},
    {"name": "data", "path": "/data", "pvc": "data", "read_only": True},
]
VOLUMES = st.lists(st.sampled_from(MOUNTS), unique_by=lambda mount: mount["name"], max_size=3)
ENV = st.dictionaries(
    st.sampled_from(["GREETING", "A.B", "_x"]),
    st.sampled_from(["hello", "", True, 7, 0.5, "$(HOME)"]) | SECRET_KEYS,
    max_size=3,
)
AUTH = part(
    tokens=SECRET_KEYS,
    admin_tokens=SECRET_KEYS,
    rate_limit=st.just("100/s"),
    jwt=st.just({"jwks": "https://issuer.example/keys", "issuer": "https://issuer.example", "audience": "fraud"}),
)
STORAGE = part(
    retries=st.integers(0, 5),
    backoff=DURATIONS,
    secrets=st.lists(SECRETS, unique=True, max_size=2),
    cache=part(claim=st.just("cache"), create=st.booleans(), size=MEMORY, cleanup=st.booleans()),
)
MONITORING = part(
    scrape=st.sampled_from(["annotations", "podmonitor", "servicemonitor", "off"]),
    interval=DURATIONS,
    labels=LABELS,
    namespace=st.just("monitoring"),
)
NETWORK_POLICY = part(
    from_namespaces=st.just(["shop"]),
    allow_from=st.just([{"namespace": "shop", "pod_labels": {"app": "checkout"}, "ports": [8080]}]),
    allow_to=st.just([{"cidr": "10.0.0.0/8", "ports": [443]}, {"namespace": "feast"}]),
)
ISTIO = part(
    principals=st.just(["cluster.local/ns/shop/sa/checkout"]),
    namespaces=st.just(["shop"]),
    issuer=st.just("https://issuer.example"),
)
COMMON: dict[str, Part] = {
    "namespace": st.sampled_from(["models", "default"]),
    "image": st.just("registry.example.com/fraud:1"),
    "image_pull_policy": st.sampled_from(["Always", "IfNotPresent"]),
    "image_pull_secrets": st.just(["registry"]),
    "resources": RESOURCES,
    "node_capacity": st.sampled_from(["spot", "on-demand"]),
    "placement": PLACEMENT,
    "disruption_budget": st.sampled_from(["auto", "off", {"min_available": 1}, {"max_unavailable": "25%"}]),
    "workers": st.integers(1, 4),
    "tracking": part(
        uri=st.just("http://mlflow.mlflow:5000"), secret=SECRETS, namespace=st.just("mlflow"), port=st.just(5000)
    ),
    "volumes": VOLUMES,
    "env": ENV,
    "env_from": st.lists(SECRETS, unique=True, max_size=2),
    "args": st.just(["--nan=error"]),
    "labels": LABELS,
    "annotations": ANNOTATIONS,
    "service_account": part(name=st.just("fraud-sa"), create=st.booleans(), annotations=ANNOTATIONS),
    "security": SECURITY,
    "probes": part(period=DURATIONS, timeout=DURATIONS, start_within=st.sampled_from(["5m", "90s"])),
    "timeout": st.sampled_from(["30s", "60s", "2m"]),
    "drain_delay": st.sampled_from(["0s", "5s", "1.5s"]),
    "grace_period": st.sampled_from(["5s", "30s"]),
    "network_policy": NETWORK_POLICY,
    "istio": ISTIO,
    "auth": AUTH,
    "reload": st.just({"webhook_secret": {"secret": "hook", "key": "secret"}}),
    "payload_logger": part(mode=st.sampled_from(["all", "request"]), url=st.just("http://sink.logs/")),
    "batcher": part(max_batch_size=st.integers(1, 64), max_latency=DURATIONS),
    "logging": part(access_log=st.booleans(), format=st.sampled_from(["text", "json"])),
    "tracing": st.just({"endpoint": "http://collector:4318", "sample": 0.25}),
    "feast": st.sampled_from(
        [
            {"server_url": "http://feast:6566", "token": {"secret": "feast", "key": "token"}, "missing": "null"},
            {
                "server_url": "http://feast:6566",
                "features": ["stats:rate"],
                "entities": {"id": "user"},
                "max_age": "1h",
            },
        ]
    ),
    "prediction_log": st.sampled_from(
        [
            {"to": "stdout", "sample": 0.1, "exclude": ["name"]},
            {"to": "http://broker.events/default", "hash": ["user"], "hash_key": {"secret": "s3", "key": "hash"}},
            {"to": {"secret": "s3", "key": "url"}, "max_age": "1m"},
            {"to": "/logs/", "claim": "logs", "max_size": "8Mi"},
            {"to": "s3://logs/fraud", "queue": 100, "queue_size": "8Mi"},
        ]
    ),
    "drift": st.sampled_from([{"mode": "on", "window": "1000rows"}, {"mode": "off"}, {"interval": "5s"}]),
    "dependencies": st.sampled_from(
        [{"policy": "off"}, {"policy": "strict"}, {"env_manager": "virtualenv", "cache_claim": "envs"}]
    ),
    "exposure": part(visibility=st.sampled_from(["external", "cluster-local"])),
    "monitoring": MONITORING,
    "storage": STORAGE,
}


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """What somebody might write down for a serve, and what only one mode has only in it."""
    mode = draw(st.sampled_from(["Standard", "Knative"]))
    # Few things at a time, so that a failure is easy to read and rules that exclude each other rarely meet.
    chosen = draw(st.lists(st.sampled_from(sorted(COMMON)), unique=True, max_size=6))
    spec = {name: draw(COMMON[name]) for name in chosen}
    spec |= {"name": draw(NAMES), "model": draw(URIS), "flavor": draw(st.sampled_from(FLAVORS)), "mode": mode}
    spec["protocol"] = draw(st.sampled_from(["v1", "v2", "grpc"]))
    spec["predictor"] = draw(st.sampled_from(["container", "runtime"]))
    low = draw(st.integers(0, 4))
    spec["replicas"] = {"min": low, "max": low + draw(st.integers(1, 5))}
    spec |= draw(_knative() if mode == "Knative" else _standard(low))
    if spec["protocol"] == "grpc":
        spec.pop("payload_logger", None)
    if spec["protocol"] != "v1":
        spec.pop("batcher", None)
    return spec


@st.composite
def _knative(draw: st.DrawFn) -> dict[str, Any]:
    scaling = draw(
        st.sampled_from(
            [
                *("80 concurrent", "100 RPS per pod", {}),
                {"concurrency": 10, "target_utilization": 70, "window": "30s"},
                {"rps": 10, "initial_scale": 1, "scale_down_delay": "1m"},
            ]
        )
    )
    fields: dict[str, Any] = {"scaling": scaling}
    if draw(st.booleans()):
        fields["container_concurrency"] = draw(st.sampled_from([0, 80, 100]))
    if draw(st.booleans()):
        fields["canary"] = {"model": draw(OTHER_URIS), "percent": draw(st.integers(0, 100))}
    return fields


@st.composite
def _standard(draw: st.DrawFn, low: int) -> dict[str, Any]:
    prometheus = {"prometheus": "http://prometheus.monitoring:9090"}
    window = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "min": low + 1}
    choices: list[Any] = [
        {"by": "external"},
        {"queries": [{"query": "sum(up)", "threshold": 3}], "scale_down_delay": "5m", **prometheus},
        {"by": "keda", "schedule": [window]},
        {"rps": 100, "schedule": [{**window, "max": 9}], **prometheus},
    ]
    if low:
        choices += [
            *("70% CPU", {"cpu": 60, "memory": 80}, {}),
            *({"rps": 100, **prometheus}, {"cpu": 70, "latency": {"below": "500ms"}, **prometheus}),
            {
                "by": "hpa",
                "schedule": [window, {**window, "start": "0 18 * * 1-5", "end": "0 8 * * 6", "min": low + 2}],
            },
        ]
    fields: dict[str, Any] = {"scaling": draw(st.sampled_from(choices))}
    if draw(st.booleans()):
        fields["rolling"] = {"surge": draw(st.sampled_from([1, "25%"])), "unavailable": 0}
    ways = draw(st.integers(0, 5))
    if low and ways == 0:
        fields["canary"] = {"model": draw(OTHER_URIS), "percent": draw(st.integers(0, 100)), "by": "kserve"}
        fields["storage"] = {"strategy": "container"}
    elif ways == 1:
        extra: dict[str, Any] = draw(
            st.sampled_from([{}, {"shadow": {"percent": 5}}, {"testers": {"header": "x-tester"}}])
        )
        fields["canary"] = {"model": draw(OTHER_URIS), "percent": draw(st.integers(0, 60)), **extra}
        fields["variants"] = draw(st.sampled_from([[], [{"model": "models:/fraud/9", "percent": 40, "name": "b"}]]))
        fields["exposure"] = {"domain_suffix": "example.com"}
    elif draw(st.booleans()):
        fields["storage"] = {"strategy": draw(st.sampled_from(["emptydir", "pvc", "server", "container"]))}
    return fields
