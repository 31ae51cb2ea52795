"""The settings of the prediction log."""

from __future__ import annotations

from dataclasses import dataclass

from predictors.prediction_log.targets import check_target, hash_key
from predictors.settings.declare import SettingError, setting
from predictors.settings.values import between, names, seconds, share, size
from predictors.storage.settings import NameSettings


@dataclass(frozen=True)
class PredictionLogSettings(NameSettings):
    prediction_log: str | None = setting(
        None,
        "where to log requests and predictions: a folder or a URL such as s3://bucket/prefix (Parquet files), "
        "http://… (CloudEvents), or stdout (JSON lines)",
        group="Prediction log",
        metavar="WHERE",
        secret=True,
    )
    prediction_log_sample: float = setting(
        1.0, "share of the predictions to log, from 0 to 1", share, group="Prediction log", metavar="SHARE"
    )
    prediction_log_exclude: frozenset[str] = setting(
        frozenset(), "columns to leave out, separated by commas", names, group="Prediction log", shown="none"
    )
    prediction_log_hash: frozenset[str] = setting(
        frozenset(),
        "columns to log as SHA-256 hashes only, separated by commas",
        names,
        group="Prediction log",
        shown="none",
    )
    prediction_log_hash_key_file: str | None = setting(
        None, "file with a key for these hashes, which makes them HMACs", group="Prediction log", metavar="FILE"
    )
    prediction_log_max_age: float = setting(
        300.0, "seconds after which a Parquet file is finished", seconds, group="Prediction log"
    )
    prediction_log_max_size: int = setting(
        64 * 1024**2,
        "bytes in memory after which a Parquet file is finished",
        size,
        group="Prediction log",
        shown="64MiB",
    )
    prediction_log_queue: int = setting(
        10_000, "records that may wait in each process; further ones are dropped", between(1), group="Prediction log"
    )
    prediction_log_queue_bytes: int = setting(
        64 * 1024**2,
        "bytes of requests and responses that may wait in each process",
        size,
        group="Prediction log",
        shown="64MiB",
    )


def check(settings: PredictionLogSettings) -> None:
    both = settings.prediction_log_exclude & settings.prediction_log_hash
    if both:
        raise SettingError(f"--prediction-log-exclude and --prediction-log-hash both name {', '.join(sorted(both))}")
    if settings.prediction_log_hash_key_file:
        if not settings.prediction_log_hash:
            raise SettingError("--prediction-log-hash-key-file needs --prediction-log-hash")
        hash_key(settings.prediction_log_hash_key_file)
    if settings.prediction_log:
        check_target(settings.prediction_log)
