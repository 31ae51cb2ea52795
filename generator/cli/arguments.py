"""Flags for fields of a spec, which override those in a file."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from math import inf
from pathlib import Path as File
from typing import Any

from generator.cli.console import Stop
from generator.lookup import TIMEOUT
from generator.problems import Path, SpecError, path_text
from generator.specfile.yaml_text import Position, YamlDocument, read


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag for a field."""

    name: str
    path: str
    metavar: str
    help: str

    @property
    def dest(self) -> str:
        return f"field_{self.name.replace('-', '_')}"


FLAGS = (
    Flag("model", "model", "URI", "what to serve: models:/name@alias, models:/name/3, runs:/…, s3://…, pvc://…"),
    Flag("name", "name", "NAME", "name of the InferenceService, and of the model in URLs"),
    Flag("namespace", "namespace", "NAME", "namespace of all resources"),
    Flag("flavor", "flavor", "FLAVOR", "flavor of the model, which is then not looked up"),
    Flag("mode", "mode", "MODE", "Standard or Knative"),
    Flag("kserve", "kserve", "VERSION", "version of KServe on the cluster"),
    Flag("protocol", "protocol", "NAME", "v1, v2 or grpc"),
    Flag("predictor", "predictor", "KIND", "container or runtime"),
    Flag("image", "image", "IMAGE", "image of the predictor"),
    Flag("registry", "image_registry", "NAME", "registry of the images"),
    Flag("tag", "image_tag", "TAG", "tag of the images"),
    Flag("min", "replicas.min", "N", "minimum number of pods"),
    Flag("max", "replicas.max", "N", "maximum number of pods"),
    Flag("scaling", "scaling", "RULES", "scaling rules, such as '70%% CPU or 100 RPS per pod'"),
    Flag("cores", "resources.cores", "N", "CPU request of a pod, such as 2 or 500m"),
    Flag("memory", "resources.memory", "SIZE", "memory request of a pod, such as 4Gi"),
    Flag("gpu", "resources.gpu", "N", "number of GPUs per pod"),
    Flag("storage", "storage.strategy", "WORD", "who fetches the model: auto, container, emptydir, pvc or server"),
    Flag("tracking-uri", "tracking.uri", "URL", "MLflow's address, for the pods and for reading the model here"),
    Flag("tracking-secret", "tracking.secret", "NAME", "Secret with the credentials for MLflow"),
    Flag("canary-model", "canary.model", "URI", "a second model that gets part of the traffic"),
    Flag("canary-percent", "canary.percent", "N", "percent of the traffic that it gets"),
)
PATH_STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[([^\[\]]+)\]")


def add_spec_arguments(parser: argparse.ArgumentParser, file: str | None = "?") -> None:
    """Adds the file, its environment, and flags that override it."""
    if file:
        parser.add_argument("file", nargs=file, metavar="serve.yaml", help="the spec file; - reads stdin")
    add_environment(parser)
    group = parser.add_argument_group("Fields", "They override the file.")
    for flag in FLAGS:
        group.add_argument(f"--{flag.name}", dest=flag.dest, metavar=flag.metavar, help=flag.help)
    group.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE",
        help="any field: --set timeout=30s --set 'labels[example.com/team]=ml' --set env.A=1; null removes a value",
    )  # fmt: skip
    add_lookup(parser)


def add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", metavar="NAME", help="environment of the file to render")
    parser.add_argument("--environments", metavar="FILE", help="a file of environments that many serves share")


def add_lookup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mlmodel", metavar="FOLDER", help="folder with a copy of the model, read instead of --model")
    parser.add_argument(
        "--lookup-timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"how long MLflow may take to describe the model [{TIMEOUT:g}]",
    )


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < inf:
        raise ValueError(text)
    return value


def layers_of(args: argparse.Namespace) -> list[YamlDocument]:
    """The layers of the flags, in order."""
    layers = []
    for flag in FLAGS:
        value = getattr(args, flag.dest, None)
        if value is not None:
            layers.append(nested(tuple(flag.path.split(".")), value, f"--{flag.name}"))
    return layers + [setting(text) for text in getattr(args, "set", [])]


def setting(text: str) -> YamlDocument:
    """The layer of `path=value`, with the value as in a file."""
    where, equals, value_text = text.partition("=")
    path = path_of(where.strip())
    if not equals or path is None:
        raise Stop(f"--set {text}: expected PATH=VALUE, such as timeout=30s or scaling.schedule[0].min=2")
    source = f"--set {path_text(path)}"
    try:
        value = read(f"value: {value_text}", source)
    except SpecError:
        raise Stop(f"{source}: {value_text!r} is not a value: expected one as in a file") from None
    return nested(path, value.data["value"], source)


def path_of(text: str) -> Path | None:
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        step = PATH_STEP.match(text, position)
        if not step:
            return None
        parts.append(int(step[2]) if step[2] else step[1] or step[3])
        position = step.end()
    return tuple(parts) if parts and isinstance(parts[0], str) else None


def nested(path: Path, value: Any, source: str) -> YamlDocument:
    """A layer with one value; integer keys are positions in lists."""
    place = Position(source)
    data = value
    for part in reversed(path):
        data = {part: data}
    return YamlDocument(data, {path[:length]: place for length in range(1, len(path) + 1)})


def command_line(args: argparse.Namespace, command: str) -> str:
    """The command as it could be repeated: without the output, and without secrets."""
    words = ["python", "-m", "generator", command]
    if getattr(args, "file", None):
        words.append(portable(args.file))
    for name in ("env", "environments", "mlmodel"):
        if value := getattr(args, name, None):
            words += [f"--{name}", value if name == "env" else portable(value)]
    for flag in FLAGS:
        value = getattr(args, flag.dest, None)
        if value is not None:
            words += [f"--{flag.name}", value]
    for text in getattr(args, "set", []):
        where, _, _ = text.partition("=")
        words += ["--set", f"{where}=…" if where.strip().startswith("env") else text]
    return " ".join(word if "…" in word else shlex.quote(word) for word in words)


def portable(name: str) -> str:
    """The path without parts that are specific to this machine."""
    return File(name).name if File(name).is_absolute() else name
