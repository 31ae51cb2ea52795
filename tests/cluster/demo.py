"""A model in three versions, a serve, callers, a canary that is promoted and one that is taken back, step by step."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from uuid import uuid4

import yaml

from tests.cluster.live import LiveCluster, local
from tests.cluster.parts.places import CACHE, ROOT
from tests.cluster.serves import ROW, documents_of, register_versions, spec_of, tracking_secret
from tests.cluster.traffic import Callers, Traffic, calling

FOLDER = CACHE / "demo"
WATCHED = 600
"""Requests that are counted after each step."""


def say(text: str) -> None:
    print(f"\n— {text}", flush=True)


def shown(command: Sequence[str]) -> None:
    print(f"  $ {shlex.join(command)}", flush=True)


def generator(cluster: LiveCluster, *words: str) -> None:
    command = ["python", "-m", "generator", *words]
    shown(command)
    environment = {**cluster.environment, "KUBECONFIG": str(cluster.kubeconfig)}
    subprocess.run([sys.executable, *command[1:]], check=True, cwd=FOLDER, env=environment)


def tell(traffic: Traffic) -> None:
    """The answers of the next requests by version."""
    began = traffic.more(WATCHED)
    shares = ", ".join(f"version {answer:.0f}: {share:.0f} %" for answer, share in traffic.shares(began).items())
    failures = traffic.failures()
    print(
        f"  {shares}; {len(traffic.answered)} requests so far, {len(failures)} failed {failures[:1] or ''}", flush=True
    )


def main() -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "tests.cluster", "up"], check=True, cwd=ROOT)
    cluster = local()
    assert cluster.tracking
    assert cluster.gateway
    model, namespace = f"fraud-{uuid4().hex[:4]}", f"demo-{uuid4().hex[:4]}"
    say(f"Three versions of the model {model}; each answers with its number: {cluster.tracking}/#/models/{model}")
    register_versions(cluster.tracking, model)
    say("What a platform team applies once: runtimes, and a storage container for models:/ URIs")
    cluster.install_platform()
    say(f"A serve of version 1 in the namespace {namespace}")
    cluster.kubectl("create", "namespace", namespace)
    cluster.apply([tracking_secret(cluster)], "--namespace", namespace)
    spec = spec_of(cluster, namespace, f"models:/{model}/1", replicas={"min": 1, "max": 2})
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / "serve.yaml"
    file.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    print(f"  $ cat {file}\n{file.read_text()}  $ python -m generator render serve.yaml | kubectl apply -f -")
    cluster.apply(documents_of(spec))
    cluster.wait_ready("fraud", namespace)
    host = cluster.host("fraud", namespace)
    say(
        f"It is ready, and answers at the gateway. Callers over V1, V2 and gRPC begin. {time.monotonic() - began:.0f} s"
    )
    print(f"  $ curl -H 'Host: {host}' {cluster.gateway}/v2/models/fraud")
    with calling(Callers(cluster.gateway, host, "fraud", ROW)) as traffic:
        tell(traffic)
        for text, words in (
            ("A fifth of the requests for version 2", ("canary", "--model", f"models:/{model}/2", "--percent", "20")),
            ("Half of them", ("canary", "--percent", "50")),
            ("Version 2 for everybody", ("promote",)),
            ("Version 3 for a third", ("canary", "--model", f"models:/{model}/3", "--percent", "30")),
            ("It is not liked, and taken back", ("rollback",)),
        ):
            say(text)
            command, *more = words
            generator(cluster, command, "serve.yaml", *more, "--apply", "--write")
            tell(traffic)
    say(
        f"Done in {time.monotonic() - began:.0f} s: {len(traffic.answered)} requests, {len(traffic.failures())} failed."
    )
    print(
        f"  It goes on running: kubectl get inferenceservices,pods,httproutes -n {namespace}; make cluster-down ends it."
    )


if __name__ == "__main__":
    main()
