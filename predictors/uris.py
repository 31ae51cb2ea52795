"""Model URIs: the one place that reads them. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

KSERVE_SCHEME = "mlflow://"
SPELLINGS = {"models": "models:/", "runs": "runs:/", "artifacts": "mlflow-artifacts:/"}
MLFLOW_SCHEMES = ("models", "runs", "mlflow-artifacts")
DEFAULT_STORES = ("mlflow.db", "mlruns")
"""What MLflow begins in the working folder if no tracking server is named."""
LATEST = "latest"
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):/")
RUN = re.compile(r"runs:/+([^/]+)(/.*)?")
LOGGED_MODEL = re.compile(r"models:/(m-[^/]+)(/.*)?")
# MLflow writes the artifacts of a run once, and a commit of Hugging Face stays what it is.
IMMUTABLE = re.compile(r"runs:/.+|mlflow-artifacts:/.+|hf://.+:[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class ModelURI:
    """A model URI and its parts. A registered model is named with a version, an alias or a stage, or with none."""

    text: str
    """The URI as MLflow spells it."""
    scheme: str = ""
    """Empty for a path."""
    name: str | None = None
    """The registered model."""
    version: str | None = None
    alias: str | None = None
    stage: str | None = None
    """A stage, or `latest`."""
    model_id: str | None = None
    """The id of a logged model, m-…"""
    run_id: str | None = None

    @classmethod
    def parse(cls, uri: str) -> ModelURI:
        """Never fails: what `spelled` would refuse is a URI of MLflow's that names no model."""
        try:
            text = mlflow_spelling(uri)
        except ValueError:
            text = uri
        scheme = scheme_of(text)
        if logged := LOGGED_MODEL.fullmatch(text):
            return cls(text, scheme, model_id=logged[1])
        if run := RUN.fullmatch(text):
            return cls(text, scheme, run_id=run[1])
        if not text.startswith("models:/") or text.startswith("models://"):  # models://PROFILE names another registry
            return cls(text, scheme)
        path = text.removeprefix("models:/")
        name, _, alias = path.rpartition("@")
        if name:
            return cls(text, scheme, name, alias=alias)
        name, _, last = path.rstrip("/").rpartition("/")
        if not name:
            return cls(text, scheme, name=last)
        if last.isdigit():
            return cls(text, scheme, name, version=last.lstrip("0") or last)
        return cls(text, scheme, name, stage=last)

    @property
    def is_mlflow(self) -> bool:
        """Whether only MLflow knows where the files are."""
        return self.scheme in (*MLFLOW_SCHEMES, "mlflow")

    @property
    def selector(self) -> str | None:
        """What selects the model's files in the registry."""
        return self.version or self.alias or self.stage or self.model_id

    @property
    def is_unversioned(self) -> bool:
        """Whether it names a registered model and nothing that selects one of its versions."""
        return self.name is not None and not (self.version or self.alias or self.stage)

    @property
    def is_latest(self) -> bool:
        return self.stage is not None and self.stage.lower() == LATEST

    @property
    def is_moving(self) -> bool:
        """Whether it may name another version tomorrow."""
        return self.name is not None and self.version is None

    @property
    def is_immutable(self) -> bool:
        """Whether its files cannot change, so that a copy of them can be kept."""
        return bool(self.version or self.model_id or IMMUTABLE.fullmatch(self.text))

    @property
    def local_folder(self) -> Path | None:
        if self.text.startswith("file:"):
            return Path(unquote(urlparse(self.text).path))
        return None if self.scheme or "://" in self.text else Path(self.text)


def mlflow_spelling(uri: str) -> str:
    """The URI as MLflow spells it: KServe asks for `://`, so mlflow://models/fraud@champion is models:/fraud@champion.

    Raises ValueError for an `mlflow://` URI that MLflow has no spelling for.
    """
    if not uri.startswith(KSERVE_SCHEME):
        return uri
    rest = uri.removeprefix(KSERVE_SCHEME)
    if scheme_of(rest) in MLFLOW_SCHEMES:
        return rest
    kind, _, path = rest.partition("/")
    if kind not in SPELLINGS or not path:
        raise ValueError("expected mlflow://models/…, mlflow://runs/… or mlflow://artifacts/…")
    return SPELLINGS[kind] + path


def kserve_spelling(uri: str) -> str | None:
    """The URI with KServe's scheme, if MLflow has the model."""
    for kind, prefix in SPELLINGS.items():
        if uri.startswith(prefix):
            return f"{KSERVE_SCHEME}{kind}/{uri.removeprefix(prefix)}"
    return None


def scheme_of(uri: str) -> str:
    match = SCHEME.match(uri)
    return match[1] if match else ""


def local_store(tracking_uri: str) -> Path | None:
    """The file or folder of a store of MLflow's on this machine."""
    if tracking_uri.startswith("sqlite:///"):
        return Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0])
    if "://" in tracking_uri.removeprefix("file://") or tracking_uri in ("databricks", "databricks-uc", "uc"):
        return None
    return ModelURI.parse(tracking_uri).local_folder
