"""The way to the Kubernetes API for jobs: as a pod's service account, or as a kubeconfig file says."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECT, READ = 5.0, 20.0  # seconds
TRIES = 3
BACKOFF = 1.0  # seconds, doubled each time, whatever Retry-After asks for: it might be an hour
BUSY = (429, 500, 502, 503, 504)
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ClusterError(Exception):
    """The cluster did not do what it was asked; the message is one line for the operator."""


def connect(repeatable: Collection[str] = ("GET",)) -> Any:
    """A client that asks again, a few times, where the API is busy and the method may be repeated."""
    try:
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from urllib3.util.retry import Retry
    except ImportError as error:
        raise ClusterError(
            f"the Kubernetes API needs {error.name}, which is not installed: pip install 'mlflow-kserve[cleanup]'"
        ) from error
    made = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and SERVICE_ACCOUNT.exists():
            config.load_incluster_config(client_configuration=made)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=made)
    except Exception as error:  # a file that is broken in any way
        raise ClusterError(f"there is no way to the Kubernetes API: {one_line(error)}") from error
    made.retries = Retry(
        TRIES - 1,
        allowed_methods=repeatable,
        status_forcelist=BUSY,
        backoff_factor=BACKOFF,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    return ApiClient(made)


def address(client: Any) -> str:
    """What to call the API in a message, without what a person may have put before the host."""
    parts = urlsplit(str(client.configuration.host))
    return f"the Kubernetes API at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def reason(error: BaseException) -> str:
    """The innermost cause, without the connection that urllib3 prints before it."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return reason(inner)
    return one_line(error).rpartition("): ")[2]


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
