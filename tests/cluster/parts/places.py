"""Where the cluster keeps its programs and its state, and the addresses it uses."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = Path(__file__).parents[1] / "modules"
CACHE = ROOT / ".cache" / "cluster"
PROGRAMS = CACHE / "bin"
STATE = CACHE / "state"
"""Of the cluster that runs; a new one begins with an empty folder."""
IMAGE_STORE = CACHE / "containerd"
"""What containerd unpacked stays for the next cluster."""
CERTIFICATES = STATE / "certificates"
"""Of the API server."""
KINDS = CACHE / "kinds"
"""What etcd begins with: the CRDs of parts, by the parts."""
PARSED = CACHE / "parsed"
"""YAML of modules as JSON, which is read in no time."""
KUBECONFIG = CACHE / "kubeconfig"
"""For callers on the host."""
INSIDE = STATE / "admin.kubeconfig"
"""For the parts themselves."""

# Ranges that are kept for documentation: whatever leaks reaches nobody.
NODE = "192.0.2.10"
POD_RANGE = "198.51.100.0/24"
SERVICE_RANGE = "203.0.113.0/24"
DNS = "203.0.113.10"

API_PORT = 6443
GATEWAY_PORT = 8888
LOCAL_GATEWAY_PORT = 8889
MLFLOW_PORT = 5000

REGISTRY = "images.test"
"""Where the node's images seem to come from: a name that no resolver knows."""
TAG = "cluster"
"""With `latest` the kubelet would ask the registry."""
