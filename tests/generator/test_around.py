"""What stands around the InferenceService: each piece does its part, and is there only where it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from generator import ServeSpec, render
from tests.generator.policies import lets

BASE: dict[str, Any] = {
    "name": "fraud", "model": "models:/fraud/7", "flavor": "sklearn", "namespace": "ml", "model_size": "20Mi",
    "tracking": {"uri": "http://mlflow.tracking.svc:5000"},
}  # fmt: skip
GUARDED = {"network_policy": {"from_namespaces": ["shop"]}}
KNATIVE = {"mode": "Knative"}
STABLE = {"serving.kserve.io/inferenceservice": "fraud"}
CACHE: dict[str, Any] = {"strategy": "pvc", "cache": {"claim": "models", "create": True, "cleanup": True}}


def by_kind(**said: Any) -> dict[str, dict[str, Any]]:
    """The resources by kind."""
    documents = render(ServeSpec.model_validate(BASE | said))
    kinds = [resource["kind"] for resource in documents]
    assert len(kinds) == len({(resource["kind"], resource["metadata"]["name"]) for resource in documents})
    return dict(zip(kinds, documents, strict=True))


def test_nothing_around_is_made_unasked() -> None:
    assert set(by_kind()) == {"InferenceService"}


def test_each_stands_in_the_namespace_and_says_who_made_it() -> None:
    everything = by_kind(
        **GUARDED, storage=CACHE, service_account={"create": True}, replicas={"min": 2}, labels={"team": "risk"},
        exposure={"host": "fraud.example.com"}, istio={"issuer": "https://id.example"}, monitoring={"scrape": "podmonitor"},
    )  # fmt: skip
    assert len(everything) == 12
    for resource in everything.values():
        assert resource["metadata"]["namespace"] == "ml"
        assert resource["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mlflow-kserve"


# The account


def test_an_account_without_a_token() -> None:
    account = by_kind(service_account={"create": True}, image_pull_secrets=["registry"])["ServiceAccount"]
    assert account["metadata"]["name"] == "fraud"
    assert account["automountServiceAccountToken"] is False
    assert account["imagePullSecrets"] == [{"name": "registry"}]
    assert "secrets" not in account


def test_annotations_ask_for_an_account_of_their_own() -> None:
    resources = by_kind(service_account={"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/fraud"}})
    assert resources["ServiceAccount"]["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/fraud"
    }
    assert resources["InferenceService"]["spec"]["predictor"]["serviceAccountName"] == "fraud"


def test_an_account_that_is_there_is_only_used() -> None:
    resources = by_kind(service_account={"name": "mine"})
    assert "ServiceAccount" not in resources
    assert resources["InferenceService"]["spec"]["predictor"]["serviceAccountName"] == "mine"


def test_kserve_finds_the_credentials_in_the_account() -> None:
    resources = by_kind(model="s3://bucket/fraud", storage={"secrets": ["s3"]}, service_account={"create": True})
    assert resources["ServiceAccount"]["secrets"] == [{"name": "s3"}]
    resources = by_kind(storage={"strategy": "server", "secrets": ["s3"]}, service_account={"create": True})
    assert "secrets" not in resources["ServiceAccount"]  # the predictor has them as variables


# The network


def policy(**said: Any) -> dict[str, Any]:
    return by_kind(**{**GUARDED, **said})["NetworkPolicy"]


def test_only_the_named_namespaces_may_call() -> None:
    network_policy = policy()
    assert network_policy["spec"]["podSelector"]["matchLabels"] == STABLE
    assert network_policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert lets(network_policy, "from", "shop", 8080)
    assert lets(network_policy, "from", "shop", 8081)
    assert not lets(network_policy, "from", "other", 8080)
    assert not lets(network_policy, "from", "shop", 22)


def test_names_may_be_resolved_elsewhere() -> None:
    dns = [{"namespace": "openshift-dns", "ports": [5353]}]
    elsewhere = policy(network_policy={"from_namespaces": ["shop"], "dns": dns})
    assert lets(elsewhere, "to", "openshift-dns", 5353, "UDP")
    assert lets(elsewhere, "to", "openshift-dns", 5353)
    assert not lets(elsewhere, "to", "kube-system", 53)


def test_only_dns_and_the_tracking_server_are_called() -> None:
    network_policy = policy()
    assert lets(network_policy, "to", "kube-system", 53, "UDP")
    assert lets(network_policy, "to", "kube-system", 53)
    assert lets(network_policy, "to", "tracking", 5000)
    assert not lets(network_policy, "to", "tracking", 22)
    assert not lets(network_policy, "to", "other", 5000)
    assert not lets(network_policy, "to", "8.8.8.8", 443)


def test_pods_by_their_labels() -> None:
    peer = {"namespace": "shop", "pod_labels": {"app": "cart"}, "ports": [8080]}
    network_policy = policy(
        network_policy={"allow_from": [peer], "allow_to": [{"cidr": "10.1.0.0/16", "ports": [443]}]}
    )
    assert lets(network_policy, "from", "shop", 8080, app="cart")
    assert not lets(network_policy, "from", "shop", 8080, app="other")
    assert not lets(network_policy, "from", "shop", 8081, app="cart")
    assert lets(network_policy, "to", "10.1.2.3", 443)
    assert not lets(network_policy, "to", "10.2.2.3", 443)
    cached = policy(
        network_policy={"from_namespaces": ["shop"], "allow_to": [{"cidr": "169.254.20.10/32", "ports": [53]}]}
    )
    assert lets(cached, "to", "169.254.20.10", 53, "UDP")


@pytest.mark.parametrize(
    ("tracking", "peer", "port"),
    [
        ({"namespace": "ops", "port": 8000}, "ops", 8000),
        ({"uri": "https://mlflow.ops.svc.cluster.local", "port": 8000}, "ops", 8000),
        ({"uri": "http://mlflow.ops.svc"}, "ops", 5000),
        ({"uri": "http://mlflow.ops:8080"}, "ops", 8080),
        ({"uri": "http://mlflow:5000"}, "ml", 5000),
        ({"uri": "http://10.3.4.5:5001"}, "10.3.4.5", 5001),
    ],
    ids=["said", "other port", "port of the Service", "short name", "beside it", "address"],
)
def test_where_the_tracking_server_is(tracking: dict[str, Any], peer: str, port: int) -> None:
    assert lets(policy(tracking=tracking), "to", peer, port)


@pytest.mark.parametrize(
    "said",
    [
        {"feast": {"server_url": "http://feast.there.svc:6566"}},
        {"tracing": {"endpoint": "http://otel.there.svc:4318"}},
        {"payload_logger": {"url": "http://sink.there.svc"}},
        {"auth": {"jwt": {"jwks": "https://id.there.svc/keys", "issuer": "id", "audience": "fraud"}}},
    ],
    ids=lambda said: next(iter(said)),
)
def test_what_the_spec_names_is_let_through(said: dict[str, Any]) -> None:
    assert lets(policy(**said), "to", "there", 8888)  # the pod's port may be any
    assert not lets(policy(), "to", "there", 8888)


def test_prometheus_reaches_the_metrics_only() -> None:
    network_policy = policy(monitoring={"namespace": "monitoring"})
    assert lets(network_policy, "from", "monitoring", 8080)
    assert not lets(network_policy, "from", "monitoring", 8081)
    assert not lets(policy(monitoring={"namespace": "monitoring", "scrape": "off"}), "from", "monitoring", 8080)


def test_the_port_with_tls() -> None:
    network_policy = policy(auth={"tls_secret": "tls"})
    assert lets(network_policy, "from", "shop", 8443)
    assert not lets(network_policy, "from", "shop", 8080)


def test_kserves_agent_is_what_callers_reach() -> None:
    assert lets(policy(payload_logger={"url": "http://sink.there.svc"}), "from", "shop", 9081)
    assert not lets(policy(), "from", "shop", 9081)


def test_knatives_proxy_and_parts() -> None:
    network_policy = policy(**KNATIVE, monitoring={"namespace": "monitoring"})
    for port in (8012, 8112):
        assert lets(network_policy, "from", "shop", port)
        assert lets(network_policy, "from", "knative-serving", port)
    assert lets(network_policy, "from", "knative-serving", 9090)
    assert not lets(network_policy, "from", "shop", 8080)
    assert lets(network_policy, "from", "monitoring", 8080)
    assert lets(policy(**KNATIVE, protocol="grpc"), "from", "knative-serving", 8013)


def test_the_mesh_needs_its_control_plane() -> None:
    assert lets(policy(istio={"namespaces": ["shop"]}), "to", "istio-system", 15012)
    assert not lets(policy(), "to", "istio-system", 15012)


# Disruption


def budget(**said: Any) -> dict[str, Any] | None:
    document = by_kind(**said).get("PodDisruptionBudget")
    return dict(document["spec"]) if document else None


def test_one_pod_may_go_where_there_are_others() -> None:
    assert budget(replicas={"min": 2}) == {"maxUnavailable": 1, "selector": {"matchLabels": STABLE}}
    assert budget(replicas={"min": 1}) is None
    assert budget(replicas={"min": 2}, disruption_budget="off") is None


def test_a_budget_of_ones_own() -> None:
    asked = budget(replicas={"min": 4}, disruption_budget={"min_available": "50%"})
    assert asked is not None
    assert asked["minAvailable"] == "50%"
    assert "maxUnavailable" not in asked


# The cache


def test_serves_that_share_a_cache_make_the_same_of_it() -> None:
    shared = ["PersistentVolumeClaim", "ServiceAccount", "Role", "RoleBinding", "CronJob"]
    one = by_kind(storage=CACHE, labels={"team": "risk"})
    other = by_kind(storage=CACHE, name="ranking", model="models:/ranking/1", replicas={"max": 9})
    assert [one[kind] for kind in shared] == [other[kind] for kind in shared]


def test_the_cleanup_may_see_pods_and_nothing_else() -> None:
    resources = by_kind(storage=CACHE)
    assert resources["Role"]["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    (subject,) = resources["RoleBinding"]["subjects"]
    pod = resources["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == subject["name"] == resources["ServiceAccount"]["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is True
    assert resources["CronJob"]["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_cleanup_works_on_the_claim_as_whoever_downloads() -> None:
    cache = {**CACHE["cache"], "ttl_days": 1.5, "max_size_gb": 80}
    resources = by_kind(storage={"strategy": "pvc", "cache": cache}, security={"run_as_user": 1000, "fs_group": 1000})
    pod = resources["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    said = {variable["name"]: variable["value"] for variable in container["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    claims = {volume["name"]: volume.get("persistentVolumeClaim") for volume in pod["volumes"]}
    assert claims[mounts[said["CACHE_PATH"]]] == {"claimName": "models"}
    assert (said["TTL_DAYS"], said["MAX_SIZE_GB"]) == ("1.5", "80")
    assert container["command"] == ["python", "-m", "predictors.cleanup"]
    (downloader,) = resources["InferenceService"]["spec"]["predictor"]["initContainers"]
    assert container["image"] == downloader["image"]
    assert container["securityContext"] == downloader["securityContext"]


def test_a_claim_that_is_there_is_only_used() -> None:
    assert set(by_kind(storage={"strategy": "pvc"})) == {"InferenceService"}


# Host names


def test_a_host_name_in_standard() -> None:
    route = by_kind(exposure={"host": "fraud.example.com", "gateway": "edge/public"}, timeout="90s")["HTTPRoute"]
    assert route["metadata"]["name"] not in ("fraud", "fraud-predictor")  # KServe's own
    assert route["spec"]["hostnames"] == ["fraud.example.com"]
    assert route["spec"]["parentRefs"] == [{"namespace": "edge", "name": "public"}]
    grpc, rest = route["spec"]["rules"]
    (match,) = grpc["matches"]
    assert [(one["name"], one["value"]) for one in match["headers"]] == [("content-type", "^application/grpc.*")]
    assert grpc["backendRefs"] == [{"name": "fraud-predictor", "port": 8081}]
    assert rest["backendRefs"] == [{"name": "fraud-predictor", "port": 80}]
    assert rest["timeouts"] == {"request": "90s"}


def test_the_services_first_port_is_the_protocols() -> None:
    grpc, rest = by_kind(exposure={"host": "fraud.example.com"}, protocol="grpc")["HTTPRoute"]["spec"]["rules"]
    assert [rule["backendRefs"][0]["port"] for rule in (grpc, rest)] == [80, 8080]


def test_the_route_splits_as_kserves_own_does() -> None:
    canary = {"model": "models:/fraud/8", "percent": 20, "by": "kserve"}
    resources = by_kind(
        exposure={"host": "fraud.example.com"}, canary=canary, revision="v7", storage={"strategy": "container"}
    )
    shares = [
        {one["name"]: one["weight"] for one in rule["backendRefs"]} for rule in resources["HTTPRoute"]["spec"]["rules"]
    ]
    assert shares == [{"fraud-v7-predictor": 80, "fraud-v8-predictor": 20}] * 2


def test_a_service_for_callers_inside_the_cluster_leads_to_the_stable_pods() -> None:
    service = by_kind(exposure={"service": "fraud-stable"}, revision="v7")["Service"]
    assert service["metadata"]["name"] == "fraud-stable"
    assert service["spec"]["selector"] == {"app": "isvc.fraud-v7-predictor"}
    ports = {(port["port"], port["targetPort"], port.get("appProtocol")) for port in service["spec"]["ports"]}
    assert ports == {(80, 8080, None), (8081, 8081, "kubernetes.io/h2c")}


def test_who_repeats_what_never_reached_a_pod() -> None:
    routed = {"domain_suffix": "example.com", "route": "own"}
    rules = by_kind(exposure={**routed, "retries": "route"})["HTTPRoute"]["spec"]["rules"]
    assert [rule["retry"] for rule in rules] == [{"attempts": 2}] * 2
    policy = by_kind(exposure={"retries": "envoy-gateway"})["BackendTrafficPolicy"]["spec"]
    targets = [target["name"] for target in policy["targetRefs"]]
    assert targets == ["fraud", "fraud-predictor", "fraud-route"]
    triggers = policy["retry"]["retryOn"]["triggers"]
    assert set(triggers) == {"connect-failure", "refused-stream", "reset-before-request"}


def test_a_host_name_in_knative() -> None:
    resources = by_kind(**KNATIVE, exposure={"host": "fraud.example.com"})
    assert "HTTPRoute" not in resources
    assert resources["DomainMapping"]["metadata"]["name"] == "fraud.example.com"
    assert resources["DomainMapping"]["spec"]["ref"] == {
        "kind": "Service", "name": "fraud-predictor", "apiVersion": "serving.knative.dev/v1",
    }  # fmt: skip


# The mesh


def rules(**said: Any) -> list[dict[str, Any]]:
    authorization = by_kind(**said)["AuthorizationPolicy"]
    assert authorization["spec"]["action"] == "ALLOW"
    assert authorization["spec"]["selector"]["matchLabels"] == STABLE
    return list(authorization["spec"]["rules"])


def test_one_of_several_callers_is_enough() -> None:
    callers, _ = rules(istio={"principals": ["cluster.local/ns/a/sa/b"], "namespaces": ["shop"]})
    assert callers == {
        "from": [
            {"source": {"principals": ["cluster.local/ns/a/sa/b"]}},
            {"source": {"namespaces": ["shop"]}},
        ]
    }


def test_a_token_is_asked_for_and_not_only_looked_at() -> None:
    said = {"istio": {"issuer": "https://id.example", "audiences": ["fraud"], "namespaces": ["shop"]}}
    callers, _ = rules(**said)
    assert callers["from"] == [{"source": {"namespaces": ["shop"], "requestPrincipals": ["https://id.example/*"]}}]
    assert by_kind(**said)["RequestAuthentication"]["spec"]["jwtRules"] == [
        {"issuer": "https://id.example", "audiences": ["fraud"]}
    ]


def test_probes_and_metrics_need_no_token() -> None:
    open_to_all = rules(istio={"issuer": "https://id.example"})[1]
    assert "from" not in open_to_all
    (operation,) = [one["operation"] for one in open_to_all["to"]]
    assert operation == {"methods": ["GET"], "paths": ["/metrics", "/v2/health/live", "/v2/health/ready"]}


def test_knatives_parts_may_ask_the_proxy() -> None:
    system = rules(**KNATIVE, istio={"issuer": "https://id.example"})[2]
    assert system["from"] == [{"source": {"namespaces": ["knative-serving"]}}]


def test_the_predictor_gets_the_token_that_it_looks_at() -> None:
    jwt = {"jwks": "https://id.example/keys", "issuer": "https://id.example", "audience": "fraud"}
    resources = by_kind(istio={"issuer": "https://id.example"}, auth={"jwt": jwt})
    assert resources["RequestAuthentication"]["spec"]["jwtRules"][0]["forwardOriginalToken"] is True


# Metrics


def scrape_annotations(**said: Any) -> dict[str, str]:
    annotations = by_kind(**said)["InferenceService"]["metadata"]["annotations"]
    return {
        key.removeprefix("prometheus.io/"): value for key, value in annotations.items() if key.startswith("prometheus")
    }


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("protocol", ["v2", "grpc"])
def test_annotations_lead_to_the_predictor(mode: str, protocol: str) -> None:
    """KServe would put another port there if it were asked to scrape."""
    assert scrape_annotations(mode=mode, protocol=protocol) == {"scrape": "true", "port": "8080", "path": "/metrics"}
    annotations = by_kind(mode=mode)["InferenceService"]["metadata"]["annotations"]
    assert annotations["serving.kserve.io/enable-prometheus-scraping"] == "false"
    assert scrape_annotations(mode=mode, monitoring={"scrape": "off"}) == {}


def test_annotations_with_tls() -> None:
    assert scrape_annotations(auth={"tls_secret": "tls"}) == {
        "scrape": "true", "port": "8443", "path": "/metrics", "scheme": "https",
    }  # fmt: skip


@pytest.mark.parametrize(("scrape", "kind"), [("podmonitor", "PodMonitor"), ("servicemonitor", "ServiceMonitor")])
@pytest.mark.parametrize("predictor", ["container", "runtime"])
def test_a_monitor_names_a_port_that_is_there(scrape: str, kind: str, predictor: str) -> None:
    resources = by_kind(
        predictor=predictor, monitoring={"scrape": scrape, "interval": "5s", "labels": {"release": "prom"}}
    )
    monitor, service = resources[kind], resources["InferenceService"]["spec"]["predictor"]
    assert monitor["metadata"]["labels"]["release"] == "prom"
    assert monitor["spec"]["selector"]["matchLabels"] == STABLE
    (endpoint,) = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("5s", "5s")
    container = service["model"] if predictor == "runtime" else service["containers"][0]
    assert {port["name"]: port["containerPort"] for port in container["ports"]}[endpoint["port"]] == 8080
    assert scrape_annotations(monitoring={"scrape": scrape}) == {}


def test_a_monitor_trusts_the_pods_certificate() -> None:
    (endpoint,) = by_kind(auth={"tls_secret": "tls"}, monitoring={"scrape": "podmonitor"})["PodMonitor"]["spec"][
        "podMetricsEndpoints"
    ]
    assert (endpoint["port"], endpoint["scheme"]) == ("https", "https")
    assert endpoint["tlsConfig"] == {
        "ca": {"secret": {"name": "tls", "key": "ca.crt"}}, "serverName": "fraud-predictor.ml.svc",
    }  # fmt: skip


def test_a_monitor_in_knative_asks_the_port_of_the_metrics() -> None:
    said = {**KNATIVE, "monitoring": {"scrape": "podmonitor"}}
    (endpoint,) = by_kind(**said)["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "user-port"
    assert "relabelings" not in endpoint
    (endpoint,) = by_kind(**said, protocol="grpc")["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"][0]["replacement"] == "$1:8080"
