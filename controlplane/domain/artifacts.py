"""Artifacts: versions of what a serve serves. A version never changes its content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlparse

from pydantic import AfterValidator, StringConstraints, model_validator

from controlplane.domain.bodies import Body, ServeName, VersionName
from controlplane.domain.secrets import SecretReference

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
GIT_URL = re.compile(r"(?:https?|ssh|git|file)://[^\s]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^\s]+")


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


def git_url(url: str) -> str:
    """The URL of a git repository, if it names no program to run and no password."""
    if not GIT_URL.fullmatch(url):
        raise ValueError("is not the URL of a git repository: expected https://…, ssh://…, git@host:… or file://…")
    if ":" in url.partition("://")[2].partition("/")[0].partition("@")[0] and "@" in url:
        raise ValueError("holds a password, which is not stored: expected git_token: {secret: NAME, key: KEY}")
    return url


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What was found of a model before its deployment."""

    uri: str
    """of a version, if its deployment follows none"""
    flavor: str | None = None
    size: int | None = None
    """bytes"""


class NewArtifact(Body):
    """The body that makes an artifact: of a model, or of a git repository that holds one."""

    serve_name: ServeName
    version: VersionName
    model_uri: ModelUri | None = None
    github_repo_url: Annotated[str, StringConstraints(max_length=1000), AfterValidator(git_url)] | None = None
    """any git repository; its folder with the MLmodel file becomes the model"""
    branch: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=200)] = "main"
    """a branch or a tag"""
    path: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._][A-Za-z0-9._/ -]*$", max_length=500)] = "."
    """folder of the model in the repository"""
    git_token: SecretReference | None = None
    """token for a private repository"""

    @model_validator(mode="after")
    def one_source(self) -> NewArtifact:
        if (self.model_uri is None) == (self.github_repo_url is None):
            raise ValueError("expected either model_uri or github_repo_url")
        if ".." in self.path.split("/"):
            raise ValueError("path leads out of the repository")
        return self

    def source(self) -> dict[str, Any]:
        """The repository as a job fetches it."""
        token = self.git_token.model_dump() if self.git_token else None
        return {"github_repo_url": self.github_repo_url, "branch": self.branch, "path": self.path, "git_token": token}


def folder_of(uri: str) -> Path | None:
    """The folder on this machine that a URI names, if it names one."""
    if uri.startswith("file:"):
        return Path(unquote(urlparse(uri).path))
    return Path(uri) if uri.startswith("/") else None
