"""The settings of the storage initializer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from predictors.settings.declare import given_values, parser, setting
from predictors.settings.values import between, choice, seconds, size, truth
from predictors.telemetry.logs import FORMATS
from predictors.uris import spelled

PROG = "python -m predictors.storage"


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """What to fetch, where to put it, and how."""

    model_uri: str | None = setting(
        None,
        "the model: models:/name/3, models:/name@alias, models:/m-…, runs:/id/path or mlflow-artifacts:/…, also "
        "written as mlflow://models/name@alias; s3, gs, wasbs, abfss, http(s), hf, hdfs or pvc; a folder or a file",
        spelled,
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
        3, "how often a failed download is retried", between(0), env=("MAX_RETRIES",), flags=("--max-retries",),
        group="Download",
    )  # fmt: skip
    download_backoff: float = setting(
        5.0, "seconds before the first retry, doubled each time", seconds, env=("BACKOFF_SECONDS",),
        flags=("--backoff-seconds",), group="Download",
    )  # fmt: skip
    tracking_uri: str | None = setting(
        None, "MLflow tracking server", env=("MLFLOW_TRACKING_URI",), group="MLflow", metavar="URI"
    )
    tracking_username: str | None = setting(
        None, "user at the tracking server", env=("MLFLOW_TRACKING_USERNAME",), group="MLflow"
    )
    tracking_password: str | None = setting(
        None, "password at the tracking server", env=("MLFLOW_TRACKING_PASSWORD",), group="MLflow", secret=True
    )
    log_level: str = setting("info", "log level", choice("debug", "info", "warning", "error"), group="Log")
    log_format: str = setting("text", "log lines as text, or as one JSON object each", choice(*FORMATS), group="Log")


def read_settings(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[StorageSettings]:
    """The settings for each pair of a URI and a folder; ends the process with 2 if one is invalid."""
    arguments = parser(PROG, "Fetches a model into a folder, through a cache if there is one.", of=StorageSettings)
    arguments.usage = f"{PROG} [options] [URI FOLDER]..."
    arguments.add_argument("pairs", nargs="*", metavar="URI FOLDER", help="the model, and the folder for it")
    settings = StorageSettings(**given_values(arguments, argv, environ, StorageSettings))
    pairs: list[str] = arguments.parse_args(argv).pairs
    if len(pairs) % 2:
        arguments.error(f"expected pairs of a URI and a folder, got {' '.join(pairs)}")
    if not pairs and not settings.model_uri:
        arguments.error("no model: expected a URI and a folder, or MODEL_URI and OUTPUT_PATH")
    jobs = []
    for uri, folder in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            jobs.append(replace(settings, model_uri=spelled(uri), output_path=folder))
        except ValueError as error:
            arguments.error(f"{uri!r} is not usable: {error}")
    return jobs or [settings]
