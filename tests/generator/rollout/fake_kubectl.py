"""A kubectl on the path that asks and changes a simulated cluster in the process of the test."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.cli import cluster as kubectl_client
from generator.resources.meta import Resource
from generator.rollout.actions import ApplyDocuments, Delete, Patch
from tests.generator.rollout.simulated import SimulatedCluster

KINDS = {
    "inferenceservices.serving.kserve.io": "InferenceService",
    "deployments.apps": "Deployment",
    "httproutes.gateway.networking.k8s.io": "HTTPRoute",
    "services.serving.knative.dev": "ksvc",
    "revision": "Revision",
    "poddisruptionbudget": "PodDisruptionBudget",
}
PROGRAM = """\
#!{python} -S
import json, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({path!r})
    reader = connection.makefile("r")
    given = sys.stdin.read() if "-" in sys.argv else ""
    connection.sendall((json.dumps([sys.argv[1:], given]) + "\\n").encode())
    status, out, err = json.loads(reader.readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
"""


class PassingTime:
    """Time as the rollout knows it; it passes in the pauses alone, as that of the simulated cluster does."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class FakeKubectl:
    """What the program does with its arguments."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.others: dict[tuple[str, str], Resource] = {}
        """Objects of other namespaces, by kind and name."""

    def answer(self, arguments: list[str], given: str) -> tuple[int, str, str]:
        match arguments:
            case ["get", kind, name, "--namespace", "kserve", *_]:
                there = self.others.get((kind, name))
                return (0, json.dumps(there), "") if there else (1, "", f"{kind} {name} not found")
            case ["get", *names, "--namespace", "ml", "--ignore-not-found", "--output", "json"]:
                # Time passes between two observations.
                self.cluster.pause()
                pairs = [name.split("/", 1) for name in names]
                stored = [self.cluster.objects.get((KINDS[kind], name)) for kind, name in pairs]
                items = [each for each in stored if each is not None]
                return 0, json.dumps(items[0] if len(items) == 1 else {"kind": "List", "items": items}), ""
            case ["get", kind, "--namespace", "ml", "--selector", selector, "--output", "json"]:
                key, value = selector.split("=")
                items = [e for e in self.cluster.of_kind(KINDS[kind]) if e["metadata"]["labels"].get(key) == value]
                return 0, json.dumps({"kind": "List", "items": items}), ""
            case ["apply", "--namespace", "ml", "--filename", "-"]:
                self.cluster.carry_out(ApplyDocuments(tuple(yaml.safe_load_all(given))))
            case ["patch", kind, name, "--namespace", "ml", "--type", "merge", "--patch", content]:
                self.cluster.carry_out(Patch(KINDS[kind], name, "ml", json.loads(content)))
            case ["delete", kind, name, "--namespace", "ml", "--ignore-not-found"]:
                self.cluster.carry_out(Delete(KINDS[kind], name, "ml"))
            case _:
                return 1, "", f"error: unknown command {arguments}"
        return 0, "", ""


@contextmanager
def fake_kubectl(cluster: SimulatedCluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubectl]:
    """Puts the program first on the path."""
    fake = FakeKubectl(cluster)
    path = folder / "kubectl.sock"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            arguments, given = json.loads(self.rfile.readline())
            self.wfile.write((json.dumps(fake.answer(arguments, given)) + "\n").encode())

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        program = folder / "bin" / "kubectl"
        program.parent.mkdir()
        program.write_text(PROGRAM.format(python=sys.executable, path=str(path)))
        program.chmod(0o755)
        monkeypatch.setattr(kubectl_client, "time", PassingTime())
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        yield fake
        server.shutdown()


def config_of_kserve(**ingress: Any) -> Resource:
    """KServe's ConfigMap, with its defaults for what is not said."""
    said = {
        "enableGatewayApi": True,
        "kserveIngressGateway": "edge/public",
        "ingressDomain": "example.com",
        "domainTemplate": "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
        **ingress,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": {"ingress": json.dumps(said)}}


def controller_of_kserve(image: str) -> Resource:
    containers = [{"name": "manager", "image": image}]
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": containers}}}}
