"""The part of a cluster's API that lists pods, as a real HTTP server on loopback, and a kubeconfig file that leads there."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.http_server import QuietHandler

TOKEN = "a-token-that-nobody-may-see"


def pod(name: str, namespace: str = "models", *, uid: str = "", phase: str = "Running", **spec: Any) -> dict[str, Any]:
    container = {"name": "kserve-container", "image": "predictor", **spec}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-of-{name}"},
        "spec": {"containers": [container]},
        "status": {"phase": phase},
    }


def forbidden(namespace: str | None) -> dict[str, Any]:
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    return failure(403, f'pods is forbidden: User "cleanup" cannot list resource "pods" in API group ""{where}')


def failure(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


@dataclass
class Api:
    """What it knows and how it behaves; tests change it as they go."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    readable: frozenset[str] | None = None
    """The namespaces that may be listed; None for all of them, also at once."""
    page: int = 500
    """At most so many pods a page, whatever the client asks for."""
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers of the next replies, before it works again; the last one stays if it is `always`."""
    always: bool = False
    body: bytes | None = None
    """Sent instead of a list."""
    hang: bool = False
    before_answer: Callable[[], object] = lambda: None
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, str], Any]:
        parts = path.strip("/").split("/")
        namespace = parts[3] if parts[2:3] == ["namespaces"] else None
        if self.failures:
            status, headers = self.failures[0] if self.always else self.failures.pop(0)
            return status, headers, failure(status, f"status {status} was asked for")
        if self.readable is not None and namespace not in self.readable:
            return 403, {}, forbidden(namespace)
        pods = [one for one in self.pods if namespace in (None, one["metadata"]["namespace"])]
        start = int(query.get("continue", ["0"])[0])
        end = start + min(self.page, int(query.get("limit", ["500"])[0]))
        more = {"continue": str(end), "remainingItemCount": len(pods) - end} if end < len(pods) else {}
        meta = {"resourceVersion": "7", **more}
        return 200, {}, {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": pods[start:end]}


@contextlib.contextmanager
def api(folder: Path) -> Iterator[Api]:
    """A running one; `folder` gets the file `kubeconfig`."""
    cluster, over = Api(), threading.Event()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            cluster.asked.append(self.path)
            if cluster.hang:
                over.wait(60)
                return
            cluster.before_answer()
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                headers: dict[str, str] = {}
                status, said = 401, failure(401, "Unauthorized")
            else:
                status, headers, said = cluster.answer(url.path, parse_qs(url.query))
            body = json.dumps(said).encode() if cluster.body is None else cluster.body
            self.reply(status, body, **headers)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    cluster.address = f"http://127.0.0.1:{server.server_port}"
    kubeconfig(folder / "kubeconfig", cluster.address)
    try:
        yield cluster
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(file: Path, address: str, token: str = TOKEN) -> Path:
    said = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "preferences": {},
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }  # fmt: skip
    file.write_text(yaml.safe_dump(said))
    return file
