"""What a platform team applies once: runtimes, the storage container, the cache of a namespace."""

from __future__ import annotations

import argparse
from pathlib import Path

from generator.cli.files import write
from generator.cli.main import release
from generator.cli.saying import OK, Stop, say
from generator.output import stream
from generator.platform import platform
from predictors.flavor import IMAGE_REGISTRY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder that is written")
    parser.add_argument("--registry", default=IMAGE_REGISTRY, help="where the images are [%(default)s]")
    parser.add_argument("--tag", default="latest", help="their tag [%(default)s]")
    parser.add_argument("--namespace", default="models", help="that serves models [%(default)s]")


def run(args: argparse.Namespace) -> int:
    folder = Path(args.output)
    for name, text in texts(args.registry, args.tag, args.namespace).items():
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Stop(f"{file.parent}: cannot be written: {error.strerror or error}") from None
        write(file, text)
    say(f"{folder}: kubectl apply -k {folder}, and -k {folder / 'namespace'} where models are cached")
    return OK


def texts(registry: str, tag: str, namespace: str) -> dict[str, str]:
    """The files by their names."""
    said = f" --registry {registry} --tag {tag}" if (registry, tag) != (IMAGE_REGISTRY, "latest") else ""
    said += f" --namespace {namespace}" if namespace != "models" else ""
    header = f"Made by mlflow-kserve {release()}: python -m generator platform -o DIR{said}"
    return {name: stream(made, header) for name, made in platform(registry, tag, namespace).items()}
