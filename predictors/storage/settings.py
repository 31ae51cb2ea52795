"""The settings of the storage initializer: few, and of its own."""

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
    """What to fetch, where to, and by which way."""

    model_uri: str | None = setting(
        None,
        "what to fetch: models:/name/3, models:/name@alias, models:/m-…, runs:/id/path, mlflow-artifacts:/…, also as "
        "mlflow://models/name@alias, or s3, gs, wasbs, abfss, http(s), hf, hdfs, pvc, a folder, a file",
        spelled,
        env=("MODEL_URI",),
        group="Model",
        metavar="URI",
    )
    output_path: str = setting(
        "/models", "folder to put it into", env=("OUTPUT_PATH",), group="Model", metavar="FOLDER"
    )
    storage_strategy: str = setting(
        "auto",
        "pvc: through the cache; emptydir: straight into the folder; auto: through the cache if there is one",
        choice("auto", "emptydir", "pvc"),
        env=("STORAGE_STRATEGY",),
        group="Cache",
    )
    cache_path: str = setting(
        "/model-cache", "where the volume with the cache is mounted", env=("CACHE_PATH",), group="Cache",
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
        "keep also what has no version, such as s3://…, under its URI alone: changes of it are not noticed",
        truth,
        env=("CACHE_UNVERSIONED",),
        group="Cache",
    )
    verify: str = setting(
        "full",
        "what is compared when files are used again: their SHA-256, or only their size",
        choice("full", "size"),
        env=("VERIFY",),
        group="Cache",
    )
    max_unpacked_size: int = setting(
        64 * 1024**3,
        "how much a packed model may unpack to",
        size,
        env=("MAX_UNPACKED_SIZE",),
        group="Download",
        shown="64GiB",
    )
    download_retries: int = setting(
        3, "how often a failed download is tried again", between(0), env=("MAX_RETRIES",), flags=("--max-retries",),
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
    """One for each pair of a URI and a folder; ends the process with 2 on a bad one."""
    made = parser(PROG, "Fetch a model into a folder, through a cache if there is one.", of=StorageSettings)
    made.usage = f"{PROG} [options] [URI FOLDER]..."
    made.add_argument("pairs", nargs="*", metavar="URI FOLDER", help="what to fetch, and where to")
    settings = StorageSettings(**given_values(made, argv, environ, StorageSettings))
    pairs: list[str] = made.parse_args(argv).pairs
    if len(pairs) % 2:
        made.error(f"expected pairs of a URI and a folder, got {' '.join(pairs)}")
    if not pairs and not settings.model_uri:
        made.error("what is to be fetched? Give a URI and a folder, or MODEL_URI and OUTPUT_PATH")
    jobs = []
    for uri, folder in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            jobs.append(replace(settings, model_uri=spelled(uri), output_path=folder))
        except ValueError as error:
            made.error(f"{uri!r} is not usable: {error}")
    return jobs or [settings]
