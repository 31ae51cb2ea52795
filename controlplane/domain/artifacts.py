"""Artifacts: versions of what a serve serves. A version never changes its content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlparse

from pydantic import AfterValidator, StringConstraints

from controlplane.domain.bodies import Body, ServeName, VersionName

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")


def model_uri(uri: str) -> str:
    """The URI, if it can name a model: a URI that MLflow resolves, or the absolute path of a folder."""
    if "://" in uri and "@" in uri.partition("://")[2].partition("/")[0] and not uri.startswith("models://"):
        raise ValueError("holds credentials, which are not stored: give them in the environment of the server")
    if uri.startswith("models:/") and not re.fullmatch(r"models:/+[^/]+(/.+|@.+)", uri) and "/m-" not in uri:
        raise ValueError(f"names no version: expected {uri}/VERSION, {uri}@ALIAS or {uri}/latest")
    if SCHEME.match(uri) or uri.startswith("/"):
        return uri
    raise ValueError("is a relative path: expected an absolute one, or a URI such as models:/NAME/VERSION")


ModelUri = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(model_uri)]


class NewArtifact(Body):
    """The body that makes an artifact: of a model."""

    serve_name: ServeName
    version: VersionName
    model_uri: ModelUri


def folder_of(uri: str) -> Path | None:
    """The folder on this machine that a URI names, if it names one."""
    if uri.startswith("file:"):
        return Path(unquote(urlparse(uri).path))
    return Path(uri) if uri.startswith("/") else None
