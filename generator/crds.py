"""Validates documents against the custom resource definitions in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from generator.structural import Schema, SchemaProblem, shown, suggestion, walk


class CrdError(Exception):
    """The folder holds no CRDs that can be used; the message is one line for the operator."""


@dataclass(frozen=True)
class Crds:
    """The schemas of CRDs by (apiVersion, kind), and the cluster-scoped kinds."""

    schemas: Mapping[tuple[str, str], Schema] = field(repr=False)
    cluster_scoped: frozenset[tuple[str, str]]

    def knows(self, document: Mapping[str, Any]) -> bool:
        """Whether the document's API group is among these CRDs, whatever its version and kind."""
        group = str(document.get("apiVersion", "")).partition("/")[0]
        return any(version.partition("/")[0] == group for version, _ in self.schemas)

    def problems(self, document: object) -> list[SchemaProblem]:
        """All problems for which the API server would refuse the document."""
        if not isinstance(document, Mapping):
            return [SchemaProblem("", f"expected a Kubernetes object, found {shown(document)}")]
        version, kind = document.get("apiVersion"), document.get("kind")
        for name, value in (("apiVersion", version), ("kind", kind)):
            if not isinstance(value, str) or not value:
                return [
                    SchemaProblem(name, f"expected a string, found {shown(value)}" if name in document else "missing")
                ]
        key = (str(version), str(kind))
        schema = self.schemas.get(key)
        if schema is None:
            return [self._unknown_kind(*key)]
        problems = list(walk({**schema, "x-kubernetes-embedded-resource": True}, document, "", True))
        metadata = document.get("metadata")
        if key in self.cluster_scoped and isinstance(metadata, Mapping) and metadata.get("namespace"):
            problems.append(
                SchemaProblem("metadata.namespace", f"a {kind} belongs to the whole cluster: expected no namespace")
            )
        return problems

    def _unknown_kind(self, version: str, kind: str) -> SchemaProblem:
        if versions := sorted(v for v, k in self.schemas if k == kind):
            return SchemaProblem(
                "apiVersion", f"no CRD defines {kind} in {version!r}; expected {' or '.join(versions)}"
            )
        hint = suggestion(kind, sorted({k for _, k in self.schemas}))
        return SchemaProblem("kind", f"no CRD defines {kind!r} in {version!r}{hint}")


@cache
def load(folder: Path) -> Crds:
    """All CRDs in the folder's YAML and JSON files, read once."""
    if not folder.is_dir():
        raise CrdError(f"{folder} is not a folder")
    schemas: dict[tuple[str, str], Schema] = {}
    cluster_scoped: set[tuple[str, str]] = set()
    for file in sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml", ".json"}):
        for document in _definitions(file):
            try:
                spec = document["spec"]
                structural = {
                    (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): version["schema"]["openAPIV3Schema"]
                    for version in spec["versions"]
                    if version.get("served", True)
                }
            except (KeyError, TypeError):
                raise CrdError(f"{file}: a CustomResourceDefinition of apiextensions.k8s.io/v1 is expected") from None
            schemas |= structural
            if spec.get("scope") == "Cluster":
                cluster_scoped |= structural.keys()
    if not schemas:
        raise CrdError(f"{folder} holds no CustomResourceDefinition (in files that end in .yaml, .yml or .json)")
    return Crds(schemas, frozenset(cluster_scoped))


def _definitions(file: Path) -> Iterator[Mapping[str, Any]]:
    """The CRDs in a file and in its lists; other objects are skipped."""
    try:
        documents = list(yaml.load_all(file.read_bytes(), yaml.CSafeLoader))
    except yaml.YAMLError as error:
        raise CrdError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise CrdError(f"{file} cannot be read: {error.strerror}") from None
    for document in documents:
        if isinstance(document, Mapping):
            objects = document.get("items") or [] if document.get("kind") == "List" else [document]
            yield from (entry for entry in objects if entry.get("kind") == "CustomResourceDefinition")
