"""The cluster's API from inside the sandbox, and YAML that lies in the folders of modules."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.parts.places import API_PORT, CERTIFICATES, INSIDE, NODE, PARSED
from tests.cluster.parts.processes import PartFailed, wait_until
from tests.cluster.parts.programs import program

Document = dict[str, Any]
MAX_CALLS = 8
CRD = "CustomResourceDefinition"


def documents(*files: Path) -> list[Document]:
    """The documents of YAML files. Parsing takes seconds, and a module's files never change: it is done once."""
    return [one for file in files for one in _parsed(file)]


def _parsed(file: Path) -> list[Document]:
    kept = PARSED / f"{hashlib.sha256(str(file).encode()).hexdigest()}.json"
    if not kept.exists():
        read = [one for one in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader) if one]
        PARSED.mkdir(parents=True, exist_ok=True)
        kept.with_suffix(".new").write_text(json.dumps(read, default=str))
        kept.with_suffix(".new").replace(kept)
    made: list[Document] = json.loads(kept.read_text())
    return made


def kubectl(*arguments: str, given: str | None = None) -> str:
    command = [str(program("kubernetes", "kubectl")), "--kubeconfig", str(INSIDE), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        raise PartFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


@cache
def client() -> httpx.Client:
    """What may do everything."""
    token = json.loads(INSIDE.read_text())["users"][0]["user"]["token"]
    trusted = ssl.create_default_context(cafile=str(CERTIFICATES / "apiserver.crt"))
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"https://localhost:{API_PORT}", headers=headers, verify=trusted, timeout=60)


def apply(made: Iterable[Document]) -> None:
    """Applies documents as `kubectl apply --server-side` does, but several at once. Namespaces come first."""
    given = list(made)
    spaces = [one for one in given if one["kind"] == "Namespace"]
    with ThreadPoolExecutor(MAX_CALLS) as callers:
        for documents in (spaces, [one for one in given if one["kind"] != "Namespace"]):
            list(callers.map(_apply, documents))


def _apply(document: Document) -> None:
    """Applies a document; the kind of a CRD can be used afterwards."""
    path = _path(document)
    reply = client().patch(
        path,
        params={"fieldManager": "cluster", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(document),
    )
    if reply.is_error:
        raise PartFailed(f"{document['kind']} {document['metadata']['name']}: {reply.text[:2000]}")
    if document["kind"] == CRD:
        wait_until(lambda: _established(client().get(path).json()), f"{path} is not established")


def _established(crd: Document) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _path(document: Document) -> str:
    """Where a document is kept; that its kind is known takes a moment after its CRD is there."""
    version, kind, about = document["apiVersion"], document["kind"], document["metadata"]
    wait_known(version, kind)
    plural, namespaced = KINDS[version][kind]
    space = f"/namespaces/{about.get('namespace', 'default')}" if namespaced else ""
    return f"{_root(version)}{space}/{plural}/{about['name']}"


def wait_known(version: str, kind: str) -> None:
    wait_until(lambda: _known(version, kind), f"the API server knows no {kind} of {version}")


KINDS: dict[str, dict[str, tuple[str, bool]]] = {}
"""By version, what the API server has said: the plurals of kinds, and whether their objects are in namespaces."""


def _known(version: str, kind: str) -> bool:
    if kind not in KINDS.get(version, {}):
        reply = client().get(_root(version))
        described = [] if reply.is_error else reply.json()["resources"]
        named = {one["kind"]: (one["name"], one["namespaced"]) for one in described if "/" not in one["name"]}
        KINDS.setdefault(version, {}).update(named)
    return kind in KINDS[version]


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


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
