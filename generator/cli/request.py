"""Builds a plan from arguments: reads files, merges flags over them, and looks the model up."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from generator.cli.arguments import command_line, layers_of
from generator.cli.console import UNREACHABLE, Stop
from generator.cli.main import release
from generator.facts import ModelFacts
from generator.lookup import TIMEOUT, LookupFailed, fetch_facts
from generator.notes import notes_of
from generator.plan import ManifestPlan
from generator.problems import Problem, SpecError
from generator.render import planned, resources
from generator.resources.meta import Resource
from generator.spec import ServeSpec
from generator.spec.storage import seen_by_pods
from generator.specfile.load import SpecFile, spec_file
from generator.specfile.overlay import environments_of
from generator.specfile.yaml_text import YamlDocument, read
from predictors.uris import ModelURI


@dataclass
class ServeRequest:
    """A serve that the arguments describe."""

    file: SpecFile
    command: str
    tracking_uri: str | None = None
    mlmodel: str | None = None
    lookup_timeout: float = TIMEOUT
    remarks: list[str] = field(default_factory=list)
    """Notes about the arguments."""

    @property
    def spec(self) -> ServeSpec:
        return self.file.spec

    @cached_property
    def facts(self) -> dict[str, ModelFacts]:
        return self.known_of(self.spec)

    def known_of(self, spec: ServeSpec) -> dict[str, ModelFacts]:
        """The facts about the models of a spec; a model whose flavor is set is not looked up."""
        if spec.flavor is not None:
            return {}
        sources = {spec.model: self.mlmodel or spec.model}
        for canary in spec.canaries:
            if canary.flavor is None:
                sources.setdefault(canary.model, canary.model)
        try:
            return {uri: fetch_facts(where, self.tracking_uri, self.lookup_timeout) for uri, where in sources.items()}
        except LookupFailed as error:
            raise Stop(str(error), UNREACHABLE) from None

    @cached_property
    def plan(self) -> ManifestPlan:
        facts = self.facts
        try:
            return planned(self.spec, facts)
        except SpecError as error:
            raise self.file.placed(error) from None

    @property
    def resources(self) -> list[Resource]:
        return resources(self.plan)

    @property
    def notes(self) -> list[str]:
        return notes_of(self.plan)

    @property
    def header(self) -> str:
        layers = self.file.layers
        where = f"\nFor the environment {layers.environment}" if layers.environment else ""
        where += f" on the cluster {layers.cluster}." if layers.cluster else "." if where else ""
        return f"Made by mlflow-kserve {release()}: {self.command}. Change the spec, not this.{where}"


def requested(args: argparse.Namespace, command: str) -> ServeRequest:
    """The serve that a file, its environment and flags describe."""
    name = getattr(args, "file", None)
    if name is None and getattr(args, "field_tracking_uri", None) is None:
        args.field_tracking_uri = public_tracking_uri(getattr(args, "field_model", None))
    flags = layers_of(args)
    if name is None and getattr(args, "field_model", None) is None:
        raise Stop(f"python -m generator {command}: expected a spec file, or --model and --name\n"
                   f"Try python -m generator {command} --help.")  # fmt: skip
    file = read_document(name) if name else YamlDocument({})
    shared = read_document(args.environments) if getattr(args, "environments", None) else None
    parsed = spec_file(file, args.env, shared, flags)
    tracking_uri = local_tracking_uri(parsed.spec, getattr(args, "field_tracking_uri", None))
    request = ServeRequest(
        parsed,
        command_line(args, command),
        tracking_uri,
        getattr(args, "mlmodel", None),
        getattr(args, "lookup_timeout", TIMEOUT),
    )
    known = dict.fromkeys(name for each in (shared, file) if each for name in environments_of(each))
    if args.env is None and known:
        request.remarks.append(
            f"no environment is selected, so this is the base only; available are {', '.join(known)}"
        )
    return request


def public_tracking_uri(model: str | None) -> str | None:
    """MLFLOW_TRACKING_URI, for a serve described by flags alone, if pods can reach it too.

    The header shows it as a flag. A spec file means the same wherever it is rendered, so it does not use it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if model is None or not ModelURI.parse(model).is_mlflow or not uri.startswith(("http://", "https://")):
        return None
    try:
        return seen_by_pods(uri)
    except ValueError:
        return None


def local_tracking_uri(spec: ServeSpec, flag: str | None = None) -> str | None:
    """The tracking server for this machine: from a flag, from MLFLOW_TRACKING_URI, or the one of the pods."""
    return flag or (None if os.environ.get("MLFLOW_TRACKING_URI") else spec.tracking.uri)


def read_document(name: str, wrong: list[Problem] | None = None) -> YamlDocument:
    """The parsed file; - is stdin."""
    return read(text_of(name), "stdin" if name == "-" else name, wrong)


def text_of(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise Stop(f"{name}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise Stop(f"{name}: is not UTF-8 text (byte {error.start})") from None
