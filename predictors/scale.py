"""`python -m predictors.scale NAME --min 5 --max 20`: how many pods an InferenceService may have from now on.

The jobs of a schedule call it when a window begins and when it ends. It needs the permission to patch the
InferenceService, and nothing else. Exit codes: 0 done, 1 the cluster refused or did not answer, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
CONNECT, READ = 5.0, 20.0  # seconds
TRIES = 4
BACKOFF = 0.5  # seconds, doubled with each try
BUSY = (429, 500, 502, 503, 504)
LONGEST_PAUSE = 10  # seconds, whatever Retry-After asks for


class ScaleError(Exception):
    """The numbers were not changed; the message is one line for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; what it did or why it could not, in one line."""
    asked = parser().parse_args(arguments)
    if asked.max is not None and asked.min > asked.max:
        parser().error(f"--min {asked.min} is more than --max {asked.max}")
    try:
        scale(asked.name, asked.namespace, asked.min, asked.max)
    except ScaleError as error:
        print(error, file=sys.stderr)
        return 1
    numbers = f"{asked.min} pods" if asked.max is None else f"{asked.min} to {asked.max} pods"
    print(f"{asked.namespace}/{asked.name}: {numbers}")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m predictors.scale", description="How many pods a serve may have.")
    made.add_argument("name", help="the InferenceService")
    made.add_argument("--namespace", default="default")
    made.add_argument("--min", type=count, required=True, help="the fewest pods")
    made.add_argument("--max", type=count, help="the most pods; as before when left out")
    return made


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pods")
    return int(text)


def scale(name: str, namespace: str, least: int, most: int | None) -> None:
    """Change both numbers in one patch: between two the larger of them could be the smaller."""
    from kubernetes.client import ApiException, CustomObjectsApi
    from urllib3.exceptions import HTTPError

    client = connect()
    where = client.configuration.host
    numbers = {"minReplicas": least, **({} if most is None else {"maxReplicas": most})}
    try:
        CustomObjectsApi(client).patch_namespaced_custom_object(
            group=GROUP,
            version=VERSION,
            namespace=namespace,
            plural=PLURAL,
            name=name,
            body={"spec": {"predictor": numbers}},
            _content_type="application/merge-patch+json",
            _request_timeout=(CONNECT, READ),
        )
    except ApiException as error:
        said = f"{error.status} {reply(error)}" if error.status else one_line(error)
        raise ScaleError(f"{where} did not change {namespace}/{name}: {said}") from error
    except HTTPError as error:
        raise ScaleError(f"{where} cannot be reached: {one_line(error)}") from error


def connect() -> Any:
    """In a pod as its service account, elsewhere as a kubeconfig file says."""
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration
    from urllib3.util.retry import Retry

    made = Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=made)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=made)
    except Exception as error:  # a file that is broken in any way
        raise ScaleError(f"there is no way to the Kubernetes API: {one_line(error)}") from error
    # The same patch twice is the same as once, so it may be repeated.
    made.retries = Retry(
        TRIES - 1,
        allowed_methods=None,
        status_forcelist=BUSY,
        backoff_factor=BACKOFF,
        retry_after_max=LONGEST_PAUSE,
        raise_on_status=False,
    )
    return ApiClient(made)


def reply(error: Any) -> str:
    """What the API server says, without the document around it."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return " ".join(str(message).split())


def one_line(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    return one_line(inner) if isinstance(inner, BaseException) else " ".join(str(error).split())[:500]


if __name__ == "__main__":
    sys.exit(main())
