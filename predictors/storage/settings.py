"""Which model is served and where it comes from; and the storage initializer's own settings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from predictors.flavor import FLAVORS
from predictors.settings.declare import SettingError, parser, read_values, setting
from predictors.settings.values import between, choice, seconds, size, truth
from predictors.telemetry.logs import FORMATS
from predictors.telemetry.settings import refuse
from predictors.uris import MLFLOW_SCHEMES, mlflow_spelling, scheme_of

NO_SCHEME = re.compile(r"[\w.-]+:\d+(/.*)?")
PROG = "python -m predictors.storage"


@dataclass(frozen=True)
class LocationSettings:
    model_uri: str | None = setting(
        None,
        "model to serve: a folder, models:/name/3, models:/name@alias, models:/name/Stage, models:/name/latest, "
        "models:/m-…, runs:/id/path, mlflow-artifacts:/…, s3://…, or any other URI that MLflow resolves; also with "
        "KServe's scheme: mlflow://models/name@alias",
        mlflow_spelling,
        env=("MLFLOW_MODEL_URI", "MODEL_URI"),
        metavar="URI",
        group="Model",
        shown="/mnt/models if a model is there, else a demo model",
    )
    model_local_path: str | None = setting(
        None,
        "folder of a model that is already downloaded; wins over the model URI",
        env=("MODEL_LOCAL_PATH",),
        flags=("--model-dir",),
        metavar="FOLDER",
        group="Model",
    )


@dataclass(frozen=True)
class NameSettings:
    model_name: str = setting("model", "name of the model in URLs", env=("MODEL_NAME",), group="Model", metavar="NAME")
    model_version: str | None = setting(
        None,
        "version of the model in responses and URLs",
        env=("MODEL_VERSION",),
        group="Model",
        shown="the registry's version, the run of runs:/…, else the model's id",
    )


@dataclass(frozen=True)
class SourceSettings(NameSettings, LocationSettings):
    flavor: str | None = setting(
        None,
        "flavor to serve the model with, instead of the detected one",
        choice(*(flavor.name for flavor in FLAVORS)),
        group="Model",
        shown="detected",
    )
    tracking_uri: str | None = setting(
        None,
        "URI of the MLflow tracking server",
        env=("MLFLOW_TRACKING_URI",),
        group="Model",
        shown="MLflow's own",
        metavar="URI",
    )
    tracking_username: str | None = setting(
        None, "user name for the tracking server", env=("MLFLOW_TRACKING_USERNAME",), group="Model"
    )
    tracking_password: str | None = setting(
        None, "password for the tracking server", env=("MLFLOW_TRACKING_PASSWORD",), group="Model", secret=True
    )
    download_retries: int = setting(
        3, "number of times a failed download is retried", between(0), env=("MAX_RETRIES",), group="Model"
    )
    download_backoff: float = setting(
        5.0,
        "seconds before the first retry, doubled for each further one",
        seconds,
        env=("BACKOFF_SECONDS",),
        group="Model",
    )
    load_timeout: float = setting(
        1800.0,
        "seconds that a model may take to be downloaded, and again to be loaded, before it counts as failed; "
        "0 for any time",
        seconds,
        group="Loading",
    )


def check(settings: SourceSettings) -> None:
    if NO_SCHEME.fullmatch(settings.tracking_uri or ""):
        raise SettingError(f"--tracking-uri: expected a scheme, such as http://{settings.tracking_uri}")
    scheme = scheme_of(settings.model_uri or "")
    meant = get_close_matches(scheme, MLFLOW_SCHEMES, n=1) if scheme not in MLFLOW_SCHEMES else []
    if meant and "://" not in (settings.model_uri or ""):
        raise SettingError(f"--model-uri: unknown scheme '{scheme}:' (did you mean '{meant[0]}:'?)")
    for flag, text in (("--model-name", settings.model_name), ("--model-version", settings.model_version)):
        if text is not None and (not text or any(char in text for char in "/:?# ")):
            raise SettingError(f"{flag}: expected a name that can be part of a URL, without / : ? # or spaces")


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """What to fetch, where to put it, and how."""

    model_uri: str | None = setting(
        None,
        "the model: models:/name/3, models:/name@alias, models:/m-…, runs:/id/path or mlflow-artifacts:/…, also "
        "written as mlflow://models/name@alias; s3, gs, wasbs, abfss, http(s), hf, hdfs or pvc; a folder or a file",
        mlflow_spelling,
        env=("MODEL_URI",),
        group="Model",
        metavar="URI",
    )
    output_path: str = setting("/models", "folder for the model", env=("OUTPUT_PATH",), group="Model", metavar="FOLDER")
    storage_strategy: str = setting(
        "auto",
        "pvc: through the cache; emptydir: directly into the folder; auto: through the cache if it is writable",
        choice("auto", "emptydir", "pvc"),
        env=("STORAGE_STRATEGY",),
        group="Cache",
    )
    cache_path: str = setting(
        "/model-cache", "mount point of the cache's volume", env=("CACHE_PATH",), group="Cache",
        metavar="FOLDER",
    )  # fmt: skip
    cache_link: str = setting(
        "auto",
        "how the folder is filled from the cache; auto: hard links if both are on one volume, else copies",
        choice("auto", "hardlink", "symlink", "copy"),
        env=("CACHE_LINK",),
        group="Cache",
    )
    cache_unversioned: bool = setting(
        False,
        "also cache sources without versions, such as s3://…; later changes of them are not noticed",
        truth,
        env=("CACHE_UNVERSIONED",),
        group="Cache",
    )
    verify: str = setting(
        "full",
        "what is checked before files are used again: their SHA-256, or only their size",
        choice("full", "size"),
        env=("VERIFY",),
        group="Cache",
    )
    max_unpacked_size: int = setting(
        64 * 1024**3,
        "limit for the unpacked size of an archive",
        size,
        env=("MAX_UNPACKED_SIZE",),
        group="Download",
        shown="64GiB",
    )
    download_retries: int = setting(
        3, "number of times a failed download is retried", between(0), env=("MAX_RETRIES",), flags=("--max-retries",),
        group="Download",
    )  # fmt: skip
    download_backoff: float = setting(
        5.0, "seconds before the first retry, doubled each time", seconds, env=("BACKOFF_SECONDS",),
        flags=("--backoff-seconds",), group="Download",
    )  # fmt: skip
    tracking_uri: str | None = setting(
        None, "URI of the MLflow tracking server", env=("MLFLOW_TRACKING_URI",), group="MLflow", metavar="URI"
    )
    tracking_username: str | None = setting(
        None, "user name for the tracking server", env=("MLFLOW_TRACKING_USERNAME",), group="MLflow"
    )
    tracking_password: str | None = setting(
        None, "password for the tracking server", env=("MLFLOW_TRACKING_PASSWORD",), group="MLflow", secret=True
    )
    log_level: str = setting("info", "log level", choice("debug", "info", "warning", "error"), group="Log")
    log_format: str = setting("text", "write log lines as text or as JSON objects", choice(*FORMATS), group="Log")


def read_settings(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[StorageSettings]:
    """The settings for each pair of a URI and a folder; ends the process with 2 if one is invalid."""
    try:
        return jobs(argv, environ)
    except SettingError as error:
        refuse(error, PROG, argv, environ)


def jobs(argv: Sequence[str], environ: Mapping[str, str]) -> list[StorageSettings]:
    arguments = parser(PROG, "Fetches a model into a folder, through a cache if there is one.", of=StorageSettings)
    arguments.usage = f"{PROG} [options] [URI FOLDER]..."
    arguments.add_argument("pairs", nargs="*", metavar="URI FOLDER", help="the model, and the folder for it")
    settings = StorageSettings(**read_values(arguments, argv, environ, StorageSettings))
    pairs: list[str] = arguments.parse_args(argv).pairs
    if len(pairs) % 2:
        raise SettingError(f"expected pairs of a URI and a folder, got {' '.join(pairs)}")
    if not pairs and not settings.model_uri:
        raise SettingError("no model: expected a URI and a folder, or MODEL_URI and OUTPUT_PATH")
    listed = []
    for uri, folder in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            listed.append(replace(settings, model_uri=mlflow_spelling(uri), output_path=folder))
        except ValueError as error:
            raise SettingError(f"{uri!r} is not usable: {error}") from None
    return listed or [settings]
