"""`python -m predictors.scale NAME --min 5 --max 20`: how many pods an InferenceService may have from now on.

The jobs of a schedule call it when a window begins and when it ends. It needs the permission to patch the
InferenceService, and nothing else. Exit codes: 0 done, 1 the cluster refused or did not answer, 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from predictors.cluster import CONNECT, READ, ClusterError, address, connect, one_line, reason

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; what it did or why it could not, in one line."""
    asked = parser().parse_args(arguments)
    if asked.max is not None and asked.min > asked.max:
        parser().error(f"--min {asked.min} is more than --max {asked.max}")
    try:
        scale(asked.name, asked.namespace, asked.min, asked.max)
    except ClusterError as error:
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
    client = connect(("PATCH",))  # the same patch twice is the same as once
    from kubernetes.client import ApiException, CustomObjectsApi
    from urllib3.exceptions import HTTPError

    where = address(client)
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
        raise ClusterError(f"{where} did not change {namespace}/{name}: {said}") from error
    except HTTPError as error:
        raise ClusterError(f"{where} cannot be reached: {reason(error)}") from error


def reply(error: Any) -> str:
    """What the API server says, without the document around it."""
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return " ".join(str(message).split())


if __name__ == "__main__":
    sys.exit(main())
