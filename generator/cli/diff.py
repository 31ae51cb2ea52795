"""The changes from one spec or manifest to another. The exit code is 0 if there are none, else 1."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

import yaml

from generator.cli.console import OK, USAGE, WRONG, Stop, say_problems
from generator.cli.request import requested, text_of
from generator.compare import compare, summary
from generator.output import document
from generator.problems import SpecError
from generator.resources.meta import Resource

ADDED_BY_CLUSTER = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "finalizers",
    "selfLink",
)
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="A", help="spec file, manifest, or folder of manifests; - is stdin")
    parser.add_argument("after", metavar="B", nargs="?", help="the same; default: A, with two --env")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME", help="environment of both; given twice, of A and of B"
    )
    parser.add_argument("--environments", metavar="FILE", help="a file of environments that many serves share")
    parser.add_argument("--yaml", action="store_true", help="print a unified diff of the manifests")


def run(args: argparse.Namespace) -> int:
    if args.after is None and len(args.env) != 2:
        raise Stop("python -m generator diff: expected two files, or one with two --env")
    if len(args.env) > 2:
        raise Stop("python -m generator diff: expected --env at most twice")
    names = [args.before, args.after or args.before]
    environments = [*args.env, *args.env][:2] if len(args.env) == 1 else args.env or [None, None]
    try:
        before, after = (
            resources_of(name, environment, args.environments)
            for name, environment in zip(names, environments, strict=True)
        )
    except SpecError as error:
        say_problems(error.problems)
        return USAGE  # 1 is for differences
    if args.yaml:
        old, new = (text(each).splitlines(keepends=True) for each in (before, after))
        lines = list(difflib.unified_diff(old, new, *names))
        sys.stdout.writelines(lines)
        return WRONG if lines else OK
    changes = compare(before, after)
    for change in changes:
        print(change)
    if changes:
        print(summary(changes, after))
    return WRONG if changes else OK


def text(resources: list[Resource]) -> str:
    return "".join(f"---\n{document(resource)}" for resource in resources)


def resources_of(name: str, environment: str | None, shared: str | None) -> list[Resource]:
    """The resources of a spec file, of a manifest, or of a folder of manifests."""
    folder = Path(name)
    if name != "-" and folder.is_dir():
        return [
            resource
            for file in sorted(folder.glob("*.yaml"))
            if file.name != "kustomization.yaml"
            for resource in manifests(text_of(str(file))) or []
        ]
    content = None if name == "-" else manifests(text_of(name))
    if content is not None:
        return content
    return requested(argparse.Namespace(file=name, env=environment, environments=shared), "diff").resources


def manifests(content: str) -> list[Resource] | None:
    """The documents, if they are Kubernetes objects, without fields that a cluster adds."""
    try:
        contents: list[Any] = [each for each in yaml.safe_load_all(content) if each is not None]
        lists = [each["items"] if is_list(each) else [each] for each in contents]
        documents: list[Any] = [each for items in lists for each in items]
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    good = all(
        isinstance(each, dict) and isinstance(each.get("kind"), str) and isinstance(each.get("metadata"), dict)
        and "name" in each["metadata"] and "apiVersion" in each
        for each in documents
    )  # fmt: skip
    return [as_applied(each) for each in documents] if documents and good else None


def is_list(document: Any) -> bool:
    """Whether the document is a List of `kubectl get`."""
    return isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list)


def as_applied(resource: Resource) -> Resource:
    """An object of a cluster without the fields that the cluster added."""
    metadata = {key: value for key, value in resource["metadata"].items() if key not in ADDED_BY_CLUSTER}
    if annotations := metadata.get("annotations"):
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    return {**{key: value for key, value in resource.items() if key != "status"}, "metadata": metadata}
