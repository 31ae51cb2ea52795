"""`python -m predictors.scale NAME --min 5 --max 20`: sets how many pods an InferenceService may have.

The jobs of a schedule run it when a window begins and when it ends. It needs the permission to patch the
InferenceService, and nothing else. Exit codes: 0 done, 1 the cluster refused or did not answer, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from predictors.cluster import CONNECT, READ, ClusterError, address, connect, one_line, reason

MANAGER = "mlflow-kserve-scale"
GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. It prints one line: what it did, or why it could not."""
    args = parser().parse_args(arguments)
    if args.max is not None and args.min > args.max:
        parser().error(f"--min {args.min} is more than --max {args.max}")
    try:
        scale(args.name, args.namespace, args.min, args.max)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    pods = f"{args.min} pods" if args.max is None else f"{args.min} to {args.max} pods"
    print(f"{args.namespace}/{args.name}: {pods}")
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m predictors.scale", description="Set how many pods a serve may have.")
    parser.add_argument("name", help="the InferenceService")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--min", type=count, required=True, help="the smallest number of pods")
    parser.add_argument("--max", type=count, help="the largest number of pods; unchanged if left out")
    return parser


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pods")
    return int(text)


def scale(name: str, namespace: str, minimum: int, maximum: int | None) -> None:
    """Changes both numbers in one patch: between two patches the minimum could exceed the maximum."""
    client = connect(("PATCH",))  # the same patch twice is the same as once
    from kubernetes.client import ApiException, CustomObjectsApi
    from urllib3.exceptions import HTTPError

    api = address(client)
    replicas = {"minReplicas": minimum, **({} if maximum is None else {"maxReplicas": maximum})}
    try:
        CustomObjectsApi(client).patch_namespaced_custom_object(
            group=GROUP,
            field_manager=MANAGER,  # the control plane knows it, and leaves its numbers alone
            version=VERSION,
            namespace=namespace,
            plural=PLURAL,
            name=name,
            body={"spec": {"predictor": replicas}},
            _content_type="application/merge-patch+json",
            _request_timeout=(CONNECT, READ),
        )
    except ApiException as error:
        problem = f"{error.status} {api_message(error)}" if error.status else one_line(error)
        raise ClusterError(f"{api} did not change {namespace}/{name}: {problem}") from error
    except HTTPError as error:
        raise ClusterError(f"{api} cannot be reached: {reason(error)}") from error


def api_message(error: Any) -> str:
    """The message of the API server, without the document around it."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return " ".join(str(message).split())


if __name__ == "__main__":
    sys.exit(main())
