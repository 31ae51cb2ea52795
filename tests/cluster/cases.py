"""Specs that change the manifests in every way that the spec knows: one branch each."""

from __future__ import annotations

from typing import Any

PROMETHEUS = "http://prometheus.monitoring:9090"
WINDOW = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "timezone": "Europe/Berlin", "min": 3}
CANARY = {"model": "models:/fraud/4", "percent": 20}
HOSTS = {"domain_suffix": "example.com"}
STANDARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "runtime": {"predictor": "runtime"},
    "protocol v1": {"protocol": "v1"},
    "protocol grpc": {"protocol": "grpc"},
    "storage container": {"storage": {"strategy": "container"}},
    "storage emptydir": {"storage": {"strategy": "emptydir", "retries": 5, "backoff": "2s", "secrets": ["s3"]}},
    "storage server": {"storage": {"strategy": "server"}},
    "storage pvc": {"storage": {"strategy": "pvc", "cache": {"claim": "cache", "create": True, "size": "5Gi"}}},
    "cache clean-up": {
        "storage": {"strategy": "pvc", "cache": {"claim": "cache", "create": True, "cleanup": True, "size": "5Gi"}}
    },
    "cpu": {"scaling": "70% CPU"},
    "cpu and memory": {"scaling": {"cpu": 60, "memory": 80}},
    "external scaling": {"scaling": {"by": "external"}},
    "requests by KEDA": {"scaling": {"rps": 100, "prometheus": PROMETHEUS}},
    "latency by KEDA": {"scaling": {"cpu": 70, "latency": {"below": "500ms"}, "prometheus": PROMETHEUS}},
    "a query": {"scaling": {"queries": [{"query": "sum(up)", "threshold": 3}], "prometheus": PROMETHEUS}},
    "hours by KEDA": {"scaling": {"by": "keda", "schedule": [WINDOW]}},
    "hours by CronJobs": {"scaling": {"by": "hpa", "schedule": [WINDOW]}},
    "to zero": {"scaling": {"by": "keda", "schedule": [WINDOW]}, "replicas": {"min": 0, "max": 4}},
    "rolling": {"rolling": {"surge": "25%", "unavailable": 0}},
    "canary": {"canary": CANARY, "exposure": HOSTS},
    "canary by KServe": {"canary": {**CANARY, "by": "kserve"}, "storage": {"strategy": "container"}},
    "shadow": {"canary": {"model": "models:/fraud/4", "shadow": {"percent": 50}}, "exposure": HOSTS},
    "testers": {"canary": {**CANARY, "testers": {"header": "x-tester"}}, "exposure": HOSTS},
    "own route": {"exposure": {**HOSTS, "route": "own"}},
    "resources": {
        "resources": {"cores": "250m", "memory": "1.5Gi", "limits": {"cores": 0.5, "memory": "2G"}},
        "workers": 2,
    },
    "gpu": {"flavor": "transformers", "resources": {"cores": 4, "memory": "16Gi", "gpu": 1}},
    "placement": {
        "placement": {
            "node_selector": {"pool": "models"},
            "tolerations": [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}],
            "topology_spread": "zones",
        },
        "node_capacity": "spot",
    },
    "budget": {"disruption_budget": {"max_unavailable": "25%"}, "replicas": {"min": 2, "max": 4}},
    "volumes": {
        "volumes": [
            {"name": "certs", "path": "/certs", "secret": "certs"},
            {"name": "rules", "path": "/rules/", "config_map": "rules", "read_only": True},
            {"name": "scratch", "path": "/scratch", "empty_dir": "1Gi"},
            {"name": "data", "path": "/data", "pvc": "data", "read_only": True},
        ]
    },
    "environment": {
        "env": {"GREETING": "hello", "EMPTY": "", "YES": True, "TOKEN": {"secret": "s", "key": "k"}},
        "env_from": ["more"],
        "args": ["--nan=error"],
    },
    "metadata": {"labels": {"team": "risk", "empty": ""}, "annotations": {"note": "any text: 100 %"}},
    "image": {
        "image": "registry.example.com/fraud:1",
        "image_pull_policy": "Always",
        "image_pull_secrets": ["registry"],
    },
    "account": {"service_account": {"create": True, "annotations": {"example.com/role": "reader"}}},
    "security off": {"security": "off"},
    "security": {"security": {"run_as_user": 1000, "fs_group": None, "read_only_root": False}},
    "probes": {"probes": {"period": "10s", "timeout": "3s", "start_within": "5m"}},
    "times": {"timeout": "90s", "drain_delay": "5s", "grace_period": "20s"},
    "network": {
        "network_policy": {
            "from_namespaces": ["shop"],
            "allow_from": [{"namespace": "shop", "pod_labels": {"app": "checkout"}, "ports": [8080]}],
            "allow_to": [{"cidr": "192.0.2.0/24", "ports": [443]}, {"namespace": "feast"}],
        }
    },
    "mesh": {"istio": {"namespaces": ["shop"], "issuer": "https://issuer.example"}},
    "tokens": {"auth": {"tokens": {"secret": "tokens", "key": "t"}, "rate_limit": "100/s"}},
    "jwt": {
        "auth": {"jwt": {"jwks": "https://issuer.example/keys", "issuer": "https://issuer.example", "audience": "f"}}
    },
    "reload": {"model": "models:/fraud@champion", "reload": {"webhook_secret": {"secret": "hook", "key": "secret"}}},
    "logger": {"payload_logger": {"mode": "all", "url": "http://sink.logs/"}},
    "batcher": {"protocol": "v1", "batcher": {"max_batch_size": 32, "max_latency": "50ms"}},
    "access log": {"logging": {"access_log": True, "format": "text"}},
    "tracing": {"tracing": {"endpoint": "http://collector:4318", "sample": 0.25}},
    "features": {"feast": {"server_url": "http://feast:6566", "token": {"secret": "feast", "key": "token"}}},
    "log to a broker": {"prediction_log": {"to": "http://broker.events/default", "sample": 0.1}},
    "log to a claim": {
        "image": "registry.example.com/fraud:1",
        "prediction_log": {"to": "/logs/", "claim": "logs", "max_size": "8Mi"},
    },
    "drift": {"drift": {"mode": "on", "window": "1000rows"}},
    "dependencies": {"dependencies": {"env_manager": "virtualenv", "cache_claim": "environments"}},
    "cluster-local": {"exposure": {"visibility": "cluster-local"}},
    "scraped by pods": {"monitoring": {"scrape": "podmonitor", "labels": {"release": "prometheus"}}},
    "scraped by services": {"monitoring": {"scrape": "servicemonitor", "interval": "15s"}},
    "not scraped": {"monitoring": {"scrape": "off"}},
    "rules": {"monitoring": {"scrape": "podmonitor", "rules": True, "slo": {"availability": 99.5}}},
}
KNATIVE: dict[str, dict[str, Any]] = {
    "plain": {},
    "runtime": {"predictor": "runtime"},
    "concurrency": {"scaling": {"concurrency": 10, "target_utilization": 70, "window": "30s"}},
    "requests": {"scaling": {"rps": 10, "initial_scale": 1, "scale_down_delay": "1m"}},
    "to zero": {"replicas": {"min": 0, "max": 4}, "container_concurrency": 80},
    "canary": {"canary": CANARY},
    "cluster-local": {"exposure": {"visibility": "cluster-local"}},
    "tokens": {"auth": {"tokens": {"secret": "tokens", "key": "t"}}},
    "server storage": {"storage": {"strategy": "server"}},
    "log": {"prediction_log": {"to": "http://broker.events/default"}},
}
BASE = {
    "name": "fraud",
    "model": "models:/fraud/3",
    "flavor": "sklearn",
    "tracking": {"uri": "http://mlflow.mlflow.svc:5000"},
}
SPECS = {
    **{f"Standard, {name}": {**BASE, "mode": "Standard", **spec} for name, spec in STANDARD.items()},
    **{f"Knative, {name}": {**BASE, "mode": "Knative", **spec} for name, spec in KNATIVE.items()},
}
