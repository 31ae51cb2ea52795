"""Flags that say a spec, or change the one in a file: each stands for a field."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from generator.cli.console import Stop
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
        return f"said_{self.name.replace('-', '_')}"


FLAGS = (
    Flag("model", "model", "URI", "what to serve: models:/name@alias, models:/name/3, runs:/…, s3://…, pvc://…"),
    Flag("name", "name", "NAME", "name of the InferenceService, and of the model in URLs"),
    Flag("namespace", "namespace", "NAME", "namespace of everything"),
    Flag("flavor", "flavor", "FLAVOR", "do not look at the model, serve it with this flavor"),
    Flag("mode", "mode", "MODE", "Standard or Knative"),
    Flag("kserve", "kserve", "VERSION", "version of KServe on the cluster"),
    Flag("protocol", "protocol", "NAME", "v1, v2 or grpc"),
    Flag("predictor", "predictor", "KIND", "container or runtime"),
    Flag("image", "image", "IMAGE", "image of the predictor"),
    Flag("registry", "image_registry", "NAME", "where images come from"),
    Flag("tag", "image_tag", "TAG", "their tag"),
    Flag("min", "replicas.min", "N", "pods at least"),
    Flag("max", "replicas.max", "N", "pods at most"),
    Flag("scaling", "scaling", "RULES", "such as '70%% CPU or 100 RPS per pod'"),
    Flag("cores", "resources.cores", "N", "CPU of each pod, such as 2 or 500m"),
    Flag("memory", "resources.memory", "SIZE", "memory of each pod, such as 4Gi"),
    Flag("gpu", "resources.gpu", "N", "GPUs of each pod"),
    Flag("storage", "storage.strategy", "WORD", "who fetches the model: auto, container, emptydir, pvc or server"),
    Flag("tracking-uri", "tracking.uri", "URL", "MLflow's address, for the pods and for reading the model here"),
    Flag("tracking-secret", "tracking.secret", "NAME", "Secret with the credentials for it"),
    Flag("canary-model", "canary.model", "URI", "a second model that gets part of the traffic"),
    Flag("canary-percent", "canary.percent", "N", "how much of it"),
)
STEP = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[([^\[\]]+)\]")


def add_spec_arguments(parser: argparse.ArgumentParser, file: str | None = "?") -> None:
    """The file, its environment, and flags that win over it."""
    if file:
        parser.add_argument("file", nargs=file, metavar="serve.yaml", help="the spec file; - reads stdin")
    add_environment(parser)
    group = parser.add_argument_group("Fields", "They win over the file.")
    for flag in FLAGS:
        group.add_argument(f"--{flag.name}", dest=flag.dest, metavar=flag.metavar, help=flag.help)
    group.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE",
        help="any field: --set timeout=30s --set 'labels[example.com/team]=ml' --set env.A=1; null takes it back",
    )  # fmt: skip
    add_lookup(parser)


def add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env", metavar="NAME", help="the environment in the file to render for")
    parser.add_argument("--environments", metavar="FILE", help="a file of environments that many serves share")


def add_lookup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mlmodel", metavar="FOLDER", help="a copy of the model to look at, rather than at --model")


def layers_of(args: argparse.Namespace) -> list[YamlDocument]:
    """What the flags say, in order."""
    layers = []
    for flag in FLAGS:
        value = getattr(args, flag.dest, None)
        if value is not None:
            layers.append(nested(tuple(flag.path.split(".")), value, f"--{flag.name}"))
    return layers + [setting(text) for text in getattr(args, "set", [])]


def setting(text: str) -> YamlDocument:
    """`path=value`, the value as it would stand in a file."""
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
        step = STEP.match(text, position)
        if not step:
            return None
        parts.append(int(step[2]) if step[2] else step[1] or step[3])
        position = step.end()
    return tuple(parts) if parts and isinstance(parts[0], str) else None


def nested(path: Path, value: Any, source: str) -> YamlDocument:
    """A value at a path, and nothing else; positions in lists are told from the file's by their type."""
    place = Position(source)
    data = value
    for part in reversed(path):
        data = {part: data}
    return YamlDocument(data, {path[:length]: place for length in range(1, len(path) + 1)})


def command_line(args: argparse.Namespace, command: str) -> str:
    """The command as anybody could repeat it: without where the output went, and without secrets."""
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
    """A path that says nothing of this machine."""
    return File(name).name if File(name).is_absolute() else name
