"""Containers as a careful cluster runs them: nobody in particular, no rights, nothing to write to but what is mounted."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from loadtest.peers.ports import free_port
from tests.serving import Running, wait_ready
from tools.images import ImageBuilder

RESTRICTED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=host")
# Podman would mount folders of its own, and raise limits, which is not allowed everywhere.
PODMAN = ("--read-only-tmpfs=false", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
TMP = ("--tmpfs=/tmp",)


@dataclass
class Containers:
    """Runs containers with the engine that built the images."""

    engine: ImageBuilder

    def command(self, *words: str) -> list[str]:
        # Where control groups are of both versions runc works and crun does not.
        runtime = shutil.which("runc") if self.engine.name == "podman" else None
        return [self.engine.name, *(["--runtime", runtime] if runtime else []), *words]

    def output(self, *words: str) -> str:
        return subprocess.run(self.command(*words), check=True, capture_output=True, text=True).stdout.strip()

    def flags(self, options: Sequence[str]) -> list[str]:
        return [*RESTRICTED, *(PODMAN if self.engine.name == "podman" else ()), *options]

    def run(self, image: str, *arguments: str, options: Sequence[str] = TMP) -> subprocess.CompletedProcess[str]:
        """One that ends by itself."""
        command = self.command("run", "--rm", *self.flags(options), image, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    @contextlib.contextmanager
    def serving(self, image: str, model: Path, *arguments: str, options: Sequence[str] = TMP) -> Iterator[Container]:
        """A predictor that is ready."""
        http, grpc = free_port(), free_port()
        ports = ("--http-port", str(http), "--grpc-port", str(grpc))
        mounted = (*options, f"--volume={model}:/mnt/models:ro")
        with self.started(image, http, grpc, "--model-uri", "/mnt/models", *ports, *arguments, options=mounted) as one:
            wait_ready(one.running.client, one.failure)
            yield one

    @contextlib.contextmanager
    def started(
        self, image: str, http: int, grpc: int, *arguments: str, options: Sequence[str] = TMP
    ) -> Iterator[Container]:
        """One that is to listen on these ports, and may not do so yet."""
        name = f"mlflow-kserve-{uuid4().hex[:12]}"
        command = self.command("run", "--detach", "--name", name, *self.flags(options), image, *arguments)
        subprocess.run(command, check=True, capture_output=True)
        url = f"http://127.0.0.1:{http}"
        try:
            with httpx.Client(base_url=url, timeout=60) as client:
                yield Container(self, name, Running(url, f"127.0.0.1:{grpc}", "model", client))
        finally:
            self.output("rm", "--force", name)

    def config(self, image: str) -> dict[str, Any]:
        inspected = json.loads(self.output("image", "inspect", image))[0]
        return {"Healthcheck": inspected.get("Healthcheck"), **inspected["Config"]}  # Podman has it beside the rest


@dataclass
class Container:
    """One that serves."""

    containers: Containers
    name: str
    running: Running

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.containers.output("container", "inspect", self.name))[0]["State"]
        return state

    def failure(self) -> str | bool:
        """What it said if it has ended, as those who wait for it want to know."""
        return not self.state["Running"] and self.log

    @property
    def log(self) -> str:
        done = subprocess.run(self.containers.command("logs", self.name), capture_output=True, text=True)
        return done.stdout + done.stderr

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.containers.command("exec", self.name, *words), capture_output=True, text=True)

    def terminate(self) -> int:
        """Sends SIGTERM, as a cluster does; the exit status."""
        self.containers.output("kill", "--signal", "TERM", self.name)
        return int(self.containers.output("wait", self.name))
