"""The namespaces that the cluster lives in: network, mounts and processes of its own, and no way out.

Its first process holds them open. When that one is killed, the kernel ends all others, containers included.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.parts.places import API_PORT, GATEWAY_PORT, MLFLOW_PORT, NODE, ROOT, STATE

INIT = STATE / "init.pid"
READY = STATE / "namespaces"
PORTS = STATE / "ports.json"
FORWARDED = {"api": API_PORT, "gateway": GATEWAY_PORT, "mlflow": MLFLOW_PORT}
"""Ports that callers on the host reach, each by another one on loopback."""

NAMESPACES = (
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave"),
    *("bash", "-c"),
)
# A bridge for the node's address: not every kernel has dummy links. The bridge needs a port, or it has no carrier.
NETWORK = f"""
ip link set lo up
ip link add eth0 type bridge
ip addr add {NODE}/24 dev eth0
ip link add eth0p type veth peer name eth0q
ip link set eth0p master eth0 up
ip link set eth0q up
ip link set eth0 up
ip route add default dev eth0
"""
# Paths that programs do not let one choose get a content of their own.
SETUP = f"""
set -e
mount -t tmpfs tmpfs /run
mkdir /run/lock
mkdir -p /var/lib/cni /var/lib/kubelet "$2"
mount -t tmpfs tmpfs /var/lib/cni
mount -t tmpfs tmpfs /var/log
mount --bind "$2" /var/lib/kubelet
{NETWORK}
touch "$1"
set +e
while :; do sleep infinity & wait; done
"""


class SandboxError(Exception):
    """The namespaces cannot be made or entered."""


def refusal() -> str:
    """What keeps the kernel from making the namespaces; empty if nothing does."""
    tried = subprocess.run(
        [*NAMESPACES, f"set -e\nmount -t tmpfs tmpfs /run\n{NETWORK}"], capture_output=True, text=True
    )
    return tried.stderr.strip() if tried.returncode else ""


def create() -> None:
    with (STATE / "namespaces.log").open("wb") as log:
        started = subprocess.Popen(
            [*NAMESPACES, SETUP, "mlflow-kserve-cluster", str(READY), str(STATE / "kubelet")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip
    while not READY.exists():
        if started.poll() is not None:
            raise SandboxError(f"the namespaces cannot be made: {(STATE / 'namespaces.log').read_text().strip()}")
        time.sleep(0.02)
    INIT.write_text(Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().strip())
    _forward()


def init() -> int | None:
    """The first process, by its number on the host; None if the cluster does not run."""
    try:
        pid = int(INIT.read_text())
        return pid if str(READY).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def entering(*words: str) -> list[str]:
    """The command that runs another one inside."""
    pid = init()
    if pid is None:
        raise SandboxError("the cluster does not run: make cluster")
    return ["nsenter", "--target", str(pid), "--net", "--mount", "--pid", f"--wd={ROOT}", "--", *words]


def destroy() -> None:
    pid = init()
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    while init() is not None:
        time.sleep(0.02)


def address(name: str) -> str:
    """Where the host reaches a port of the cluster."""
    return f"127.0.0.1:{json.loads(PORTS.read_text())[name]}"


def _forward() -> None:
    """Starts what connects loopback to the cluster: its sockets listen on the host, the process itself is inside."""
    listening = {name: socket.create_server(("127.0.0.1", 0)) for name in FORWARDED}
    PORTS.write_text(json.dumps({name: one.getsockname()[1] for name, one in listening.items()}))
    pairs = [f"{one.fileno()}={FORWARDED[name]}" for name, one in listening.items()]
    with (STATE / "forward.log").open("wb") as log:
        subprocess.Popen(
            entering(sys.executable, "-m", "tests.cluster.parts.forward", *pairs),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            pass_fds=[one.fileno() for one in listening.values()],
        )  # fmt: skip
    for one in listening.values():
        one.close()
