"""etcd, the API server, the controllers and the scheduler."""

from __future__ import annotations

import datetime
import json
import secrets
from base64 import b64encode
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import Authority
from tests.cluster.parts.places import API_PORT, CERTIFICATES, INSIDE, KUBECONFIG, NODE, SERVICE_RANGE, STATE
from tests.cluster.parts.processes import start, wait_ready
from tests.cluster.parts.programs import program
from tests.cluster.parts.sandbox import address

USERS = {
    "admin": ("admin", "system:masters"),
    "kubelet": ("system:node:node0", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
}
"""Names and groups by the kubeconfig that they use."""
ETCD = STATE / "etcd"
KEY = STATE / "service-accounts.key"
PUBLIC_KEY = STATE / "service-accounts.pub"
FRESH = datetime.timedelta(days=90)
"""How long the certificates of a cluster that is left running are good."""


def etcd() -> None:
    start(
        "etcd", program("etcd", "server"), "--data-dir", ETCD, "--unsafe-no-fsync", "--log-level", "warn",
        "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
        "--listen-peer-urls", "http://127.0.0.1:2380",
    )  # fmt: skip
    wait_ready("etcd", "http://127.0.0.1:2379/health")


def kubernetes() -> None:
    _service_account_keys()
    tokens = {name: secrets.token_urlsafe(24) for name in USERS}
    lines = [f'{tokens[name]},{user},{user},"{group}"\n' for name, (user, group) in USERS.items()]
    (STATE / "tokens.csv").write_text("".join(lines))
    start(
        "kube-apiserver", program("kubernetes", "kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
        f"--cert-dir={CERTIFICATES}", f"--secure-port={API_PORT}", "--bind-address=0.0.0.0",
        f"--advertise-address={NODE}", f"--service-cluster-ip-range={SERVICE_RANGE}", "--allow-privileged",
        "--authorization-mode=Node,RBAC", f"--token-auth-file={STATE / 'tokens.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={PUBLIC_KEY}",
        f"--service-account-signing-key-file={KEY}", "--kubelet-preferred-address-types=InternalIP",
        *_aggregation(),
    )  # fmt: skip
    wait_ready("kube-apiserver", f"https://127.0.0.1:{API_PORT}/readyz")
    for name, token in tokens.items():
        kubeconfig(STATE / f"{name}.kubeconfig", f"127.0.0.1:{API_PORT}", token)
    kubeconfig(KUBECONFIG, address("api"), tokens["admin"])


def controllers() -> None:
    start(
        "kube-controller-manager", program("kubernetes", "kube-controller-manager"), f"--kubeconfig={INSIDE}",
        f"--service-account-private-key-file={KEY}", f"--root-ca-file={CERTIFICATES / 'apiserver.crt'}",
        "--leader-elect=false",
    )  # fmt: skip
    start("kube-scheduler", program("kubernetes", "kube-scheduler"), f"--kubeconfig={INSIDE}", "--leader-elect=false")
    wait_ready("kube-controller-manager", "https://127.0.0.1:10257/healthz")
    wait_ready("kube-scheduler", "https://127.0.0.1:10259/healthz")


def _aggregation() -> list[str]:
    """Lets the API server pass requests on to others' APIs, and prove to them who asks."""
    folder = STATE / "front-proxy"
    folder.mkdir()
    authority = Authority(folder, lifetime=FRESH)
    certificate, key = authority.issue("front-proxy")
    return [
        f"--requestheader-client-ca-file={authority.file}", "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={certificate}", f"--proxy-client-key-file={key}",
    ]  # fmt: skip


def kubeconfig(file: Path, server: str, token: str) -> None:
    authority = b64encode((CERTIFICATES / "apiserver.crt").read_bytes()).decode()
    cluster = {"server": f"https://{server}", "certificate-authority-data": authority, "tls-server-name": "localhost"}
    file.touch(mode=0o600)
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "cluster",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "user"}}],
    }  # fmt: skip
    file.write_text(json.dumps(content, indent=2))


def _service_account_keys() -> None:
    key = rsa.generate_private_key(65537, 2048)
    KEY.touch(mode=0o600)
    KEY.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    PUBLIC_KEY.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
