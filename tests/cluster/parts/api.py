"""The cluster's API from inside the sandbox, through kubectl, and YAML that lies in the folders of modules."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.parts.places import INSIDE, NODE
from tests.cluster.parts.processes import PartFailed
from tests.cluster.parts.programs import program

Document = dict[str, Any]


def documents(*files: Path) -> list[Document]:
    """The documents of YAML files; the CRDs are large, so the parser is the one in C."""
    return [one for file in files for one in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader) if one]


def kubectl(*arguments: str, given: str | None = None) -> str:
    command = [str(program("kubernetes", "kubectl")), "--kubeconfig", str(INSIDE), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise PartFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def apply(made: Iterable[Document]) -> None:
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(made)})
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=given)


def namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def established() -> None:
    """Waits until the CRDs can be used."""
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")


def service_of_process(name: str, space: str, **ports: tuple[int, int]) -> list[Document]:
    """A Service without pods: behind it is a process of the node. Its ports are pairs, the Service's and the process's."""
    about = {"name": name, "namespace": space}
    front = [{"name": key.replace("_", "-"), "port": port, "targetPort": there} for key, (port, there) in ports.items()]
    back = [{"name": key.replace("_", "-"), "port": there} for key, (_, there) in ports.items()]
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**about, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE], "conditions": {"ready": True}}],
        "ports": back,
    }
    return [{"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"ports": front}}, slice_]
