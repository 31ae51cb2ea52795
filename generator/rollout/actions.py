"""What a step of a rollout does to the cluster: it patches, applies or deletes. Each may be done twice."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any, Literal

from generator.resources.meta import Resource

PatchType = Literal["merge", "json"]


@dataclass(frozen=True, slots=True)
class Patch:
    """The change of one resource."""

    kind: str
    name: str
    namespace: str
    content: Any
    type: PatchType = "merge"

    def command(self, context: str | None = None, file: str | None = None) -> str:
        """The kubectl command that applies the patch, from a file if given."""
        patch = ["--patch-file", file] if file else ["--patch", json.dumps(self.content, ensure_ascii=False)]
        what = [*kubectl(context), "patch", self.kind.lower(), self.name, "--namespace", self.namespace]
        return shlex.join([*what, "--type", self.type, *patch])


@dataclass(frozen=True, slots=True)
class ApplyDocuments:
    """Resources that are made, or changed to what is said here."""

    documents: tuple[Resource, ...]

    def command(self, context: str | None = None, file: str | None = None) -> str:
        return shlex.join([*kubectl(context), "apply", "--filename", file or "-"])


@dataclass(frozen=True, slots=True)
class Delete:
    """A resource that goes away; one that is not there is fine."""

    kind: str
    name: str
    namespace: str

    def command(self, context: str | None = None, file: str | None = None) -> str:
        where = [self.kind.lower(), self.name, "--namespace", self.namespace, "--ignore-not-found"]
        return shlex.join([*kubectl(context), "delete", *where])


Action = Patch | ApplyDocuments | Delete


def kubectl(context: str | None) -> list[str]:
    return ["kubectl", *(["--context", context] if context else [])]
