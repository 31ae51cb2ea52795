"""Whatever is asked for around a serve: a cluster takes it, or it is refused with a reason; and twice the same."""

from __future__ import annotations

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from generator import ServeSpec, SpecError, render
from generator.crds import Crds
from generator.output import stream
from tests.generator.judge import judge

# What plan notes ask of a cluster with Knative for a cache.
FEATURES = frozenset({"initContainers", "persistentVolumeClaim"})
NAMES = st.sampled_from(["shop", "ml", "ops"])
PORTS = st.sampled_from([[], [8080]])
PEERS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"namespace": NAMES, "ports": PORTS}, optional={"pod_labels": st.just({"app": "cart"})}),
        st.fixed_dictionaries({"cidr": st.sampled_from(["10.0.0.0/8", "fd00::/8"]), "ports": PORTS}),
    ),
    max_size=2,
)
SHARES = st.sampled_from([0, 1, 2, "25%", "100%"])
AROUND = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["fraud", "a" * 45]),
        "model": st.sampled_from(
            ["models:/fraud/7", "models:/fraud@champion", "s3://bucket/fraud", "pvc://claim/fraud"]
        ),
        "mode": st.sampled_from(["Standard", "Knative"]),
        "flavor": st.just("sklearn"),
    },
    optional={
        "protocol": st.sampled_from(["v1", "v2", "grpc"]),
        "predictor": st.sampled_from(["container", "runtime"]),
        "replicas": st.fixed_dictionaries({"min": st.integers(1, 4)}),
        "tracking": st.sampled_from(
            [{"uri": "http://mlflow.ops.svc:5000"}, {"uri": "https://mlflow.example.com"}, {"namespace": "ops"}]
        ),
        "storage": st.sampled_from(
            [
                {"strategy": "container"},
                {"strategy": "pvc", "cache": {"create": True, "cleanup": True}},
                {"cache": {"create": True}},
            ]
        ),
        "service_account": st.sampled_from([{"create": True}, {"annotations": {"a/b": "c"}}, {"name": "mine"}]),
        "image_pull_secrets": st.just(["registry"]),
        "disruption_budget": st.one_of(
            st.sampled_from(["auto", "off"]),
            st.fixed_dictionaries({"min_available": SHARES}),
            st.fixed_dictionaries({"max_unavailable": SHARES}),
        ),
        "network_policy": st.fixed_dictionaries(
            {},
            optional={
                "from_namespaces": st.lists(NAMES, min_size=1, max_size=2),
                "allow_from": PEERS,
                "allow_to": PEERS,
            },
        ),
        "exposure": st.fixed_dictionaries(
            {},
            optional={
                "visibility": st.sampled_from(["external", "cluster-local"]),
                "host": st.just("fraud.example.com"),
            },
        ),
        "istio": st.fixed_dictionaries(
            {"issuer": st.just("https://id.example")}, optional={"namespaces": st.lists(NAMES, max_size=2)}
        ),
        "monitoring": st.fixed_dictionaries(
            {"scrape": st.sampled_from(["annotations", "podmonitor", "servicemonitor", "off"])},
            optional={
                "namespace": NAMES,
                "interval": st.sampled_from(["5s", "1m", "500ms"]),
                "rules": st.booleans(),
                "dashboard": st.booleans(),
            },
        ),
        "auth": st.sampled_from([{"tls_secret": "tls"}, {"tokens": {"secret": "t", "key": "t"}}]),
        "payload_logger": st.just({"url": "http://sink.ops.svc"}),
    },
)


@settings(max_examples=100)
@given(said=AROUND)
def test_a_cluster_takes_it_or_it_is_refused(said: dict[str, Any], optional_crds: Crds | None) -> None:
    spec = ServeSpec.model_validate(said)
    try:
        documents = render(spec)
    except SpecError:
        event("refused")
        return
    event("rendered")
    assert judge(documents, optional_crds, FEATURES).problems == []
    assert stream(documents, "") == stream(render(ServeSpec.model_validate(said)), "")
