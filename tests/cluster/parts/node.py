"""A node: containerd, the kubelet and kube-proxy. Its images come from archives; nothing is pulled."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

from tests.cluster.parts.api import apply
from tests.cluster.parts.places import DNS, IMAGE_STORE, NODE, POD_RANGE, REGISTRY, STATE, TAG
from tests.cluster.parts.processes import PartFailed, start, wait_ready, wait_until
from tests.cluster.parts.programs import program

SOCKET = STATE / "containerd.sock"


def image(name: str) -> str:
    return f"{REGISTRY}/{name}:{TAG}"


CONTAINERD = f"""
version = 2
root = "{IMAGE_STORE}"
state = "{STATE}/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image("pause")}"
  restrict_oom_score_adj = true  # a machine in a container may not lower the score
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{STATE}/cni"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
            "ipam": {
                "type": "host-local", "dataDir": f"{STATE}/leases", "ranges": [[{"subnet": POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}  # fmt: skip
KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "clusterDNS": [DNS],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": f"unix://{SOCKET}",
    "podLogsDir": f"{STATE}/pod-logs",
    "resolvConf": f"{STATE}/resolv.conf",
    "volumePluginDir": f"{STATE}/volume-plugins",
    # Control groups of either version, without systemd.
    "cgroupDriver": "cgroupfs",
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "failSwapOn": False,
    "localStorageCapacityIsolation": False,
    # The disk is the host's: it is seldom as empty as the kubelet would like.
    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    "imageGCHighThresholdPercent": 100,
}


def node() -> None:
    _kubelet()
    _proxy()


def containerd() -> None:
    (STATE / "cni").mkdir()
    (STATE / "cni" / "pods.conflist").write_text(json.dumps(NETWORK))
    (STATE / "containerd.toml").write_text(CONTAINERD)
    start("containerd", "containerd", "-c", STATE / "containerd.toml")
    wait_until(lambda: _ctr("version").returncode == 0, "containerd does not answer")
    image_of("pause", program("pause", "pause"))


def _kubelet() -> None:
    (STATE / "resolv.conf").write_text("")
    (STATE / "kubelet.yaml").write_text(json.dumps(KUBELET))
    start(
        "kubelet", program("kubernetes", "kubelet"), f"--kubeconfig={STATE / 'kubelet.kubeconfig'}",
        f"--config={STATE / 'kubelet.yaml'}", "--hostname-override=node0",
        f"--node-ip={NODE}", f"--cert-dir={STATE / 'kubelet-certificates'}",
    )  # fmt: skip
    wait_ready("kubelet", "http://127.0.0.1:10248/healthz")


def _proxy() -> None:
    apply(
        [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "kube-proxy"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "system:node-proxier",
                },
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:kube-proxy"}],
            }
        ]
    )
    start(
        "kube-proxy", program("kubernetes", "kube-proxy"), f"--kubeconfig={STATE / 'proxy.kubeconfig'}",
        f"--cluster-cidr={POD_RANGE}", "--hostname-override=node0", "--proxy-mode=iptables",
        # Limits of the whole kernel are not ours to set.
        "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    )  # fmt: skip
    wait_ready("kube-proxy", "http://127.0.0.1:10256/healthz")


def _ctr(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io", *words]
    return subprocess.run(command, capture_output=True, text=True)


def image_of(name: str, file: Path) -> None:
    """Puts a static program as an image where the kubelet finds it."""
    path = STATE / f"{name}.tar"
    archive(path, image(name), file)
    done = _ctr("images", "import", str(path))
    if done.returncode:
        raise PartFailed(f"containerd cannot import {path}: {done.stderr.strip()}")
    path.unlink()


def kill_task(container: str) -> None:
    """Ends the processes of a container with SIGKILL."""
    done = _ctr("tasks", "kill", "--all", "--signal", "SIGKILL", container)
    if done.returncode:
        raise PartFailed(f"containerd cannot end {container}: {done.stderr.strip()}")


def archive(target: Path, name: str, file: Path) -> None:
    """A docker archive of one program, which nobody in particular runs; no engine is needed to make it."""
    inner = "program"
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tar.gettarinfo(str(file), arcname=inner)
        info.mode = 0o755
        with file.open("rb") as source:
            tar.addfile(info, source)
    data = layer.getvalue()
    about = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{inner}"], "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}"]},
    }
    text = json.dumps(about).encode()
    manifest = [{"Config": f"{hashlib.sha256(text).hexdigest()}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    contents = {manifest[0]["Config"]: text, "layer.tar": data, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(target, "w") as tar:
        for path, content in contents.items():
            info = tarfile.TarInfo(str(path))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
