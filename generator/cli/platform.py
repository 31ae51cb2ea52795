"""Resources that a platform team applies once: runtimes, the storage container, the cache of a namespace."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from generator.cli.console import OK, Stop, say
from generator.cli.files import HEADER_MARK, write
from generator.cli.main import release
from generator.output import stream
from generator.platform import platform
from predictors.flavor import IMAGE_REGISTRY

TEMPLATE = "namespace/tracking-secret.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--registry", default=IMAGE_REGISTRY, help="registry of the images [%(default)s]")
    parser.add_argument("--tag", default="latest", help="tag of the images [%(default)s]")
    parser.add_argument("--namespace", default="models", help="namespace that serves models [%(default)s]")


def run(args: argparse.Namespace) -> int:
    folder = Path(args.output)
    new = texts(args.registry, args.tag, args.namespace)
    there = {name: old for name in new if (old := old_text(folder / name)) is not None}
    for name, old in there.items():
        if name != TEMPLATE and HEADER_MARK not in old:
            raise Stop(
                f"{folder / name}: was not written by mlflow-kserve, and would be overwritten: expected another folder"
            )
    if TEMPLATE in there and is_filled_in(there[TEMPLATE], new[TEMPLATE]):
        say(f"{folder / TEMPLATE}: has been filled in, and is kept")
        del new[TEMPLATE]
    for name, text in new.items():
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Stop(f"{file.parent}: cannot be written: {error.strerror or error}") from None
        write(file, text)
    say(f"{folder}: kubectl apply -k {folder}, and -k {folder / 'namespace'} for namespaces with a cache")
    return OK


def old_text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Stop(f"{file}: cannot be read: {error.strerror or error}") from None


def is_filled_in(old: str, new: str) -> bool:
    """Whether a Secret differs from the template; one that cannot be parsed may be encrypted."""
    try:
        data, template = (
            [content.get(key) for key in ("data", "stringData")] for content in map(yaml.safe_load, (old, new))
        )
    except (yaml.YAMLError, AttributeError):
        return True
    return data != template


def texts(registry: str, tag: str, namespace: str) -> dict[str, str]:
    """The texts of the files, by name."""
    flags = f" --registry {registry} --tag {tag}" if (registry, tag) != (IMAGE_REGISTRY, "latest") else ""
    flags += f" --namespace {namespace}" if namespace != "models" else ""
    header = f"Made by mlflow-kserve {release()}: python -m generator platform -o DIR{flags}"
    return {name: stream(resources, header) for name, resources in platform(registry, tag, namespace).items()}
