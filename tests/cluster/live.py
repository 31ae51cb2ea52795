"""A cluster to test against: that of `make cluster`, or anybody's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from generator import ServeSpec, render
from generator.platform import platform
from tests.cluster.parts import sandbox
from tests.cluster.parts.inside import started
from tests.cluster.parts.node import kill_task
from tests.cluster.parts.places import KUBECONFIG, PROGRAMS, REGISTRY, TAG
from tests.serving import wait_for

Document = dict[str, Any]
NO_PODS: Document = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-pods"},
    "spec": {"hard": {"pods": "0"}},
}
READY_SECONDS = 240


@dataclass(frozen=True)
class LiveCluster:
    """What tests know of a cluster, and kubectl on it."""

    kubeconfig: Path
    registry: str
    tag: str
    gateway: str | None = None
    """The URL at which the hosts of serves are answered."""
    tracking: str | None = None
    """MLflow, as the tests reach it."""
    tracking_in_pods: str | None = None
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def attempt(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, env=environment)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        done = self.attempt(*arguments, given=given)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def get(self, kind: str, name: str, namespace: str) -> Document:
        made: Document = json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json"))
        return made

    def listed(self, kind: str, namespace: str, selector: str = "") -> list[Document]:
        options = ["--namespace", namespace, "--output", "json", *(["--selector", selector] if selector else [])]
        made: list[Document] = json.loads(self.kubectl("get", kind, *options))["items"]
        return made

    def apply(self, documents: Sequence[Document], *options: str) -> str:
        return self.kubectl("apply", *options, "--filename", "-", given=as_list(documents))

    @cached_property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """Pairs of apiVersion and kind that it knows."""
        rows = [line.split() for line in self.kubectl("api-resources", "--no-headers").splitlines()]
        return frozenset((row[-3], row[-1]) for row in rows)

    def lacks(self, documents: Sequence[Document]) -> list[str]:
        """The kinds of documents that it does not know."""
        pairs = {(one["apiVersion"], one["kind"]) for one in documents}
        return sorted(f"{kind} ({version})" for version, kind in pairs - self.kinds)

    @contextmanager
    def namespace(self, purpose: str, *documents: Document) -> Iterator[str]:
        """A namespace of its own, with documents in it."""
        name = f"{purpose}-{uuid4().hex[:6]}"
        self.kubectl("create", "namespace", name)
        try:
            if documents:
                self.apply(documents, "--namespace", name)
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    def install_platform(self) -> None:
        """Applies what a platform team applies once."""
        files = platform(self.registry, self.tag)
        documents = [one for name in ("runtimes.yaml", "storage.yaml") for one in files[name]]
        self.apply(documents, "--server-side", "--force-conflicts")

    def wait_ready(self, name: str, namespace: str, seconds: float = READY_SECONDS) -> None:
        """Waits until KServe says so of a serve; otherwise what the pods say is in the failure."""
        what = ("inferenceservice", name, "--namespace", namespace)
        done = self.attempt("wait", "--for=condition=Ready", *what, f"--timeout={seconds:.0f}s")
        assert done.returncode == 0, self.story(namespace)

    def host(self, name: str, namespace: str) -> str:
        """The host by which callers outside know a serve."""
        url: str = self.get("inferenceservice", name, namespace)["status"]["url"]
        return url.partition("://")[2]

    def pods_of(self, spec: ServeSpec) -> list[str]:
        """Names of the pods of a serve that are not about to end."""
        pods = self.listed("pods", spec.namespace, f"serving.kserve.io/inferenceservice={spec.name}")
        return [one["metadata"]["name"] for one in pods if "deletionTimestamp" not in one["metadata"]]

    def wait_rolled_out(self, spec: ServeSpec, seconds: float = READY_SECONDS) -> None:
        """Waits until all pods of a Standard serve are those of the spec, which has a container."""
        (service,) = (dict(one) for one in render(spec) if one["kind"] == "InferenceService")
        image = service["spec"]["predictor"]["containers"][0]["image"]

        def seen() -> bool:
            template = json.dumps(self.get("deployment", f"{spec.name}-predictor", spec.namespace)["spec"]["template"])
            return f'"{spec.model}"' in template and f'"{image}"' in template

        wait_for(seen, seconds=seconds)
        what = ("deployment", f"{spec.name}-predictor", "--namespace", spec.namespace)
        done = self.attempt("rollout", "status", *what, f"--timeout={seconds:.0f}s")
        assert done.returncode == 0, self.story(spec.namespace)

    def kill_container(self, pod: str, namespace: str) -> None:
        """Ends the process of a pod's server from outside, as the kernel does when memory is short."""
        if self.kubeconfig != KUBECONFIG:
            pytest.skip("containers can be killed on the cluster of `make cluster` only")
        (status,) = self.get("pod", pod, namespace)["status"]["containerStatuses"]
        kill_task(status["containerID"].rpartition("/")[2])

    @contextmanager
    def without_mlflow(self) -> Iterator[None]:
        """Takes the registry away, and brings it back as it was."""
        if self.kubeconfig != KUBECONFIG:
            pytest.skip("MLflow can be taken away on the cluster of `make cluster` only")
        command = sandbox.entering(sys.executable, "-m", "tests.cluster.parts.mlflow")
        subprocess.run([*command, "stop"], check=True)
        try:
            yield
        finally:
            subprocess.run([*command, "start"], check=True)

    def inside_pod(self, pod: str, namespace: str, *command: str) -> str:
        """What a command in the first container of a pod prints."""
        return self.kubectl("exec", pod, "--namespace", namespace, "--", *command)

    def wait_restarted(self, pod: str, namespace: str, seconds: float = READY_SECONDS) -> None:
        def restarted() -> bool:
            (status,) = self.get("pod", pod, namespace)["status"]["containerStatuses"]
            return bool(status["restartCount"] and status["ready"])

        wait_for(restarted, seconds=seconds)

    def wait_described(self, namespace: str, *texts: str, seconds: float = READY_SECONDS) -> None:
        """Waits until what a person would look at has all of the texts."""

        def described() -> bool:
            story = self.story(namespace)
            return all(text in story for text in texts)

        wait_for(described, seconds=seconds)

    def story(self, namespace: str) -> str:
        """What a person would look at: the serves, the pods, the last events, and the ends of logs."""
        parts = [
            self.attempt("get", "inferenceservices,deployments,pods", "--namespace", namespace).stdout,
            self.attempt("get", "events", "--namespace", namespace, "--sort-by=.lastTimestamp").stdout[-4000:],
        ]
        for pod in self.listed("pods", namespace):
            name = pod["metadata"]["name"]
            parts.append(self.attempt("logs", name, "--namespace", namespace, "--all-containers", "--tail=15").stdout)
        return "\n".join(parts)


def as_list(documents: Sequence[Document]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})


def placed(documents: Sequence[Document], namespace: str) -> list[Document]:
    """The documents in another namespace."""
    return [{**one, "metadata": {**one["metadata"], "namespace": namespace}} for one in documents]


def local() -> LiveCluster:
    """The cluster of `make cluster`, as far as it runs."""
    environment = {**os.environ, "PATH": f"{PROGRAMS / 'kubernetes'}{os.pathsep}{os.environ['PATH']}"}
    made = LiveCluster(KUBECONFIG, REGISTRY, TAG, environment=environment)
    if {"node", "gateway", "mlflow"} <= {*started()}:
        ports = {name: f"http://{sandbox.address(name)}" for name in ("gateway", "mlflow")}
        return replace(
            made, gateway=ports["gateway"], tracking=ports["mlflow"], tracking_in_pods="http://mlflow.mlflow.svc:5000"
        )
    return made


def yours() -> LiveCluster:
    """The one that the environment names."""
    tracking = os.environ.get("MLFLOW_TRACKING_URI")
    return LiveCluster(
        Path(os.environ["KUBECONFIG"]), os.environ["REGISTRY"], os.environ.get("TAG", "latest"),
        os.environ.get("GATEWAY"), tracking, os.environ.get("MLFLOW_IN_PODS", tracking),
    )  # fmt: skip
