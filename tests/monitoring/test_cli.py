"""The command, and the files that it writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.plan import decide
from generator.resources import watching
from generator.resources.containers import ports
from generator.resources.monitors import annotations_of
from generator.rules import problems_of
from generator.specfile.load import read_spec
from monitoring.cli import main
from monitoring.scope import Scope
from monitoring.specfile import read
from tests.monitoring.promtool import promtool

ALL = {
    "rules.yaml", "prometheus.yml", "operator/rules.yaml", "operator/dashboards.yaml", "operator/podmonitor.yaml",
    "operator/servicemonitor.yaml", "dashboards/fleet.json", "dashboards/rollout.json", "dashboards/serve-overview.json",
    "dashboards/features-drift.json",
}  # fmt: skip
SPEC = "name: fraud\nnamespace: ml\nmodel: models:/fraud/3\nflavor: sklearn\n"


def written(folder: Path) -> dict[str, Any]:
    """Each file as it is read."""
    return {
        str(path.relative_to(folder)): json.loads(path.read_text())
        if path.suffix == ".json"
        else yaml.safe_load(path.read_text())
        for path in folder.rglob("*")
        if path.is_file()
    }


def render(folder: Path, *words: str) -> dict[str, Any]:
    out = folder / "out"
    assert main(["render", "-o", str(out), *words]) == 0
    return written(out)


def test_files_for_all_serves(tmp_path: Path) -> None:
    files = render(tmp_path, "--label", "release=kps", "--monitoring-namespace", "observe")
    assert set(files) == ALL
    for name in ("rules", "podmonitor", "servicemonitor"):
        meta = files[f"operator/{name}.yaml"]["metadata"]
        assert (meta["labels"], meta["namespace"]) == ({"release": "kps"}, "observe")
    assert files["operator/rules.yaml"]["spec"] == files["rules.yaml"]
    monitor = files["operator/podmonitor.yaml"]["spec"]
    assert [each["port"] for each in monitor["podMetricsEndpoints"]] == ["http1", "user-port"]


def test_files_for_one_serve(tmp_path: Path) -> None:
    spec = tmp_path / "serve.yaml"
    spec.write_text(SPEC)
    files = render(
        tmp_path, "--spec", str(spec), "--target", "localhost:8080", "--runbooks", "https://wiki.example.com/run/"
    )
    assert set(files) == ALL - {"operator/podmonitor.yaml", "operator/servicemonitor.yaml", "dashboards/fleet.json"}
    (group,) = files["rules.yaml"]["groups"]
    assert all('namespace="ml"' in rule["expr"] for rule in group["rules"])
    links = {rule["annotations"]["runbook_url"] for rule in group["rules"] if "alert" in rule}
    assert "https://wiki.example.com/run/ModelAbsent.md" in links
    (job,) = files["prometheus.yml"]["scrape_configs"]
    assert job["static_configs"][0] == {
        "targets": ["localhost:8080"],
        "labels": {"namespace": "ml", "pod": "fraud-predictor-0", "serving_kserve_io_inferenceservice": "fraud"},
    }
    promtool("check", "config", tmp_path / "out" / "prometheus.yml")


def found_by(config: dict[str, Any], folder: Path, pods: list[dict[str, str]]) -> list[dict[str, str]]:
    """The labels of the targets that Prometheus makes of these pods, as Kubernetes would describe them.

    Debian's Prometheus is built without Kubernetes' discovery, so a file stands in for it.
    """
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (folder / "pods.json").write_text(json.dumps([{"targets": ["10.0.0.1:1"], "labels": pod} for pod in pods]))
    changed = config | {"rule_files": [], "scrape_configs": [job | {"file_sd_configs": [{"files": ["pods.json"]}]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(changed))
    said = promtool("check", "service-discovery", "--timeout=5s", folder / "prometheus.yml", job["job_name"])
    return [each["labels"] for each in json.loads(said) if each["labels"]]


def test_metrics_of_a_grpc_server_in_knative_are_at_another_port(tmp_path: Path) -> None:
    """Knative lets a pod name one port only, which is then that of gRPC."""
    rest, grpc = ("http1", 8080), ("h2c", 8081)
    for protocol, named in (("v1", rest), ("grpc", grpc)):
        named_ports = ports(decide(read_spec(SPEC + f"mode: Knative\nprotocol: {protocol}\n")))
        assert [(each["name"], each["containerPort"]) for each in named_ports] == [named]
    endpoint = render(tmp_path)["operator/podmonitor.yaml"]["spec"]["podMetricsEndpoints"][1]
    assert endpoint["port"] == "user-port"
    relabeled = [
        {re.sub("([A-Z])", r"_\1", key).lower(): value for key, value in each.items()}
        for each in endpoint["relabelings"]
    ]
    pods = [
        {"__meta_kubernetes_pod_ip": ip, "__meta_kubernetes_pod_container_port_number": str(port)}
        for ip, (_, port) in (("10.0.0.8", rest), ("10.0.0.9", grpc))
    ]
    job = {"job_name": "pods", "kubernetes_sd_configs": [{"role": "pod"}], "relabel_configs": relabeled}
    targets = found_by({"scrape_configs": [job]}, tmp_path, pods)
    # The first stays where discovery found it.
    assert {each["__address__"] for each in targets} == {"10.0.0.1:1", "10.0.0.9:8080"}


def test_annotated_pods_are_found(tmp_path: Path) -> None:
    """With the annotations that the generator gives them."""
    spec = read_spec(SPEC)
    annotations = annotations_of(decide(spec))
    meta = {
        f"__meta_kubernetes_pod_annotation_{re.sub('[^a-z]', '_', name)}": value for name, value in annotations.items()
    }
    pod = {
        "__meta_kubernetes_pod_ip": "10.1.2.3", "__meta_kubernetes_namespace": "ml", "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_name": "fraud-predictor-1", "__meta_kubernetes_pod_label_serving_kserve_io_inferenceservice": "fraud",
        **meta,
    }  # fmt: skip
    unasked = {name: value for name, value in pod.items() if not name.endswith("io_scrape")}
    foreign = {name: value for name, value in pod.items() if "inferenceservice" not in name}
    ended = pod | {"__meta_kubernetes_pod_phase": "Succeeded"}
    secure = pod | {
        "__meta_kubernetes_pod_annotation_prometheus_io_scheme": "https",
        "__meta_kubernetes_pod_ip": "10.1.2.4",
    }
    targets = found_by(render(tmp_path)["prometheus.yml"], tmp_path, [pod, unasked, foreign, ended, secure])
    ours = {
        "namespace": "ml", "pod": "fraud-predictor-1", "serving_kserve_io_inferenceservice": "fraud", "__metrics_path__": "/metrics",
    }  # fmt: skip
    wanted = [("10.1.2.3:8080", "http"), ("10.1.2.4:8080", "https")]
    assert sorted((each["__address__"], each["__scheme__"]) for each in targets) == wanted
    assert all(ours.items() <= each.items() for each in targets)


@pytest.mark.parametrize(
    "more",
    [
        "",
        "monitoring: {rules: true, slo: {availability: 99, p50: null, p95: 250ms, p99: 2.5s}}\n",
        "monitoring: {rules: true, slo: {p50: 0.05, p95: 0.25, p99: 1}}\n",
        "replicas: {min: 0, max: 2}\nmode: Knative\nmonitoring: {rules: true, slo: {p50: 0.5ms}}\n",
    ],
    ids=["defaults", "slo", "numbers", "zero"],
)
def test_a_spec_means_the_same_here_and_to_the_generator(tmp_path: Path, more: str) -> None:
    spec = tmp_path / "serve.yaml"
    spec.write_text(SPEC + more)
    asked, plan = read(spec), decide(read_spec(spec.read_text()))
    assert not problems_of(plan)
    assert (asked.scope, asked.objectives) == (watching.scope(plan), watching.objectives(plan))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "the spec: expected fields, not []"),
        ("a: [", "is not YAML: while parsing a flow node"),
        ("model: models:/fraud/3", "name: expected a name such as fraud, not None"),
        ("name: Fraud!", "name: expected a name such as fraud, not 'Fraud!'"),
        ("name: fraud\nmonitoring: on", "monitoring: expected fields, not True"),
        ("name: fraud\nmonitoring: {slo: {p90: 1s}}", "monitoring.slo.p90: is no field: expected one of availability, p50, p95, p99"),
        ("name: fraud\nmonitoring: {slo: {p95: fast}}", "monitoring.slo.p95: expected a duration such as 500ms or 1s, not 'fast'"),
        ("name: fraud\nmonitoring: {slo: {p95: 300ms}}", "monitoring.slo.p95: 300ms is between two buckets"),
        ("name: fraud\nmonitoring: {slo: {availability: all}}", "monitoring.slo.availability: expected percent such as 99.9, not 'all'"),
        ("name: fraud\nmonitoring: {slo: {availability: 100}}", "monitoring.slo.availability: 100 leaves no error budget"),
        ("name: fraud\nmonitoring: {slo: {p50: 5s}}", "monitoring.slo: p50, p95 and p99: expected each to be at least"),
    ],
    ids=["list", "yaml", "nameless", "name", "monitoring", "field", "duration", "bucket", "percent", "all", "order"],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "serve.yaml"
    spec.write_text(content)
    assert main(["render", "--spec", str(spec), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{spec}: {words}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_files_and_labels_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no.yaml"
    assert main(["render", "--spec", str(missing), "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{missing}: No such file or directory\n"
    (tmp_path / "file").write_text("")
    assert main(["render", "-o", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err
    assert main(["render", "--label", "release", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "--label release: expected KEY=VALUE, such as release=prometheus\n"


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("--target", "http://localhost:8080", "HOST:PORT, such as localhost:8080"),
        ("--target", "localhost", "HOST:PORT, such as localhost:8080"),
        ("--target", "localhost:99999", "HOST:PORT, such as localhost:8080"),
        ("--label", "a b=c", "KEY=VALUE, such as release=prometheus"),
        ("--label", "a=b c", "KEY=VALUE, such as release=prometheus"),
        ("--label", "A.io/a=b", "KEY=VALUE, such as release=prometheus"),
        ("--namespace", 'a"b', "a name such as models"),
        ("--monitoring-namespace", "", "a name such as models"),
    ],
)
def test_what_prometheus_would_not_take(
    tmp_path: Path, option: str, value: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "serve.yaml"
    spec.write_text(SPEC)
    for more in ([], ["--spec", str(spec)]):
        assert main(["render", option, value, "-o", str(tmp_path / "out"), *more]) == 2
        assert capsys.readouterr().err == f"{option} {value}: expected {wanted}\n"
    assert not (tmp_path / "out").exists()


def test_targets_of_both_families(tmp_path: Path) -> None:
    render(tmp_path, "--target", "localhost:8080", "--target", "[::1]:8080", "--target", "my_host.example.com:80")
    promtool("check", "config", tmp_path / "out" / "prometheus.yml")


def test_it_runs_as_a_module_and_without_the_library_of_dashboards(tmp_path: Path) -> None:
    """What is rendered was drawn before: whoever renders needs no library for it."""
    code = (
        "import sys; sys.modules['grafana_foundation_sdk'] = None\n"
        "import runpy; sys.argv[0] = 'monitoring'; runpy.run_module('monitoring', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code, "render", "-o", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"{tmp_path}: 10 files for all serves\n"
    assert set(written(tmp_path)) == ALL


def test_a_schedule_may_say_zero_and_the_command_another_namespace(tmp_path: Path) -> None:
    spec = tmp_path / "serve.yaml"
    spec.write_text("{name: fraud, model: 'models:/fraud/7', namespace: ml, scaling: {schedule: [{min: 0}, {min: 2}]}}")
    assert read(spec).scope == Scope("ml", "fraud", always=False)
    spec.write_text("{name: fraud, model: 'models:/fraud/7', namespace: ml, scaling: {schedule: [{min: 2}]}}")
    assert read(spec, "other").scope == Scope("other", "fraud", always=True)
