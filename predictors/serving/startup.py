"""From the command line and the environment to checked settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from tempfile import gettempdir
from typing import Any

from predictors.access import settings as access
from predictors.candidate import settings as candidate
from predictors.drift import settings as drift
from predictors.environments import settings as environments
from predictors.features import settings as features
from predictors.model import settings as model
from predictors.pipeline.settings import Settings
from predictors.prediction_log import settings as prediction_log
from predictors.processes import settings as processes
from predictors.queueing import settings as queueing
from predictors.settings.declare import SettingError, parser, read_values
from predictors.storage import settings as storage
from predictors.telemetry.settings import refuse

HTTPS_PORT = 8443  # KServe's own


def read_settings(
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    *,
    prog: str = "python -m predictors.mlflow",
    description: str = "Serve an MLflow model over V1, V2 (REST and gRPC) and /invocations.",
    forced_flavor: str | None = None,
) -> Settings:
    """Settings from flags over environment over defaults; ends the process with 2 on a bad one."""
    values: dict[str, Any] = {"flavor": forced_flavor} if forced_flavor else {}
    flags = parser(prog, description, of=Settings, fixed=tuple(values))
    try:
        values |= read_values(flags, argv, environ, Settings, tuple(values))
        if values.get("ssl_certfile") and "http_port" not in values:
            values["http_port"] = HTTPS_PORT
        settings = Settings(**values)
        check(settings)
    except SettingError as error:
        refuse(error, prog, argv, environ)
    return settings


def check(settings: Settings) -> None:
    """Raises SettingError for what no single setting shows: settings that contradict each other, files, folders."""
    check_temporary_folder()
    access.check_tls(settings)
    access.check(settings)
    prediction_log.check(settings)
    storage.check(settings)
    model.check(settings)
    environments.check(settings, settings.allow_code_execution)
    features.check(settings)
    drift.check(settings)
    candidate.check(settings)
    queueing.check(settings)
    processes.check(settings)


def check_temporary_folder() -> None:
    try:
        gettempdir()
    except FileNotFoundError:
        raise SettingError("no temporary folder is writable: mount a volume at /tmp, or name one in TMPDIR") from None
