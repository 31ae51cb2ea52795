"""A client of the Kubernetes API for jobs: with the pod's service account, or else with a kubeconfig file."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CONNECT, READ = 5.0, 20.0  # timeouts in seconds
MAX_ATTEMPTS = 3
BACKOFF = 1.0  # seconds, doubled each time; Retry-After is ignored, since it might be an hour
RETRIED_STATUSES = (429, 500, 502, 503, 504)
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ClusterError(Exception):
    """A request to the cluster failed; the message is one line for the operator."""


def connect(repeatable: Collection[str] = ("GET",)) -> Any:
    """A client that retries a few times if the API is busy and the method may be repeated."""
    try:
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from urllib3.util.retry import Retry
    except ImportError as error:
        raise ClusterError(
            f"the Kubernetes API needs {error.name}, which is not installed: pip install 'mlflow-kserve[cleanup]'"
        ) from error
    configuration = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and SERVICE_ACCOUNT.exists():
            config.load_incluster_config(client_configuration=configuration)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except Exception as error:  # the file may be broken in any way
        raise ClusterError(f"the Kubernetes API is not configured: {one_line(error)}") from error
    configuration.retries = Retry(
        MAX_ATTEMPTS - 1,
        allowed_methods=repeatable,
        status_forcelist=RETRIED_STATUSES,
        backoff_factor=BACKOFF,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    return ApiClient(configuration)


def address(client: Any) -> str:
    """The API's name in a message, without credentials that may stand before the host."""
    parts = urlsplit(str(client.configuration.host))
    return f"the Kubernetes API at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def reason(error: BaseException) -> str:
    """The innermost cause, without the connection, which urllib3 prints before it."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return reason(inner)
    return one_line(error).rpartition("): ")[2]


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
