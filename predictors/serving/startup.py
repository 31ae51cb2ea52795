"""From the command line and the environment to checked settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from predictors.access.checks import check as check_access
from predictors.access.reloading_file import UnusableFile
from predictors.access.tls import server_context
from predictors.prediction_log.targets import Unsuitable
from predictors.prediction_log.targets import check as check_prediction_log
from predictors.settings.declare import SettingError, given_values, parser
from predictors.settings.predictor import Settings

HTTPS_PORT = 8443  # where KServe has it


def read_settings(
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    *,
    prog: str = "python -m predictors.mlflow",
    description: str = "Serve an MLflow model over V1, V2 (REST and gRPC) and /invocations.",
    forced_flavor: str | None = None,
) -> Settings:
    """Settings from flags over environment over defaults; ends the process with 2 on a bad one."""
    made = parser(prog, description, forced_flavor, of=Settings)
    values: dict[str, Any] = {"flavor": forced_flavor} if forced_flavor else {}
    values |= given_values(made, argv, environ, Settings, values)
    if values.get("ssl_certfile") and "http_port" not in values:
        values["http_port"] = HTTPS_PORT
    settings = Settings(**values)
    try:
        check(settings)
    except SettingError as error:
        made.error(str(error))
    return settings


def check(settings: Settings) -> None:
    """What no single setting can tell by itself."""
    try:
        gettempdir()
    except FileNotFoundError:
        raise SettingError("nothing can be written to /tmp: mount a volume there, or name another in TMPDIR") from None
    if bool(settings.ssl_certfile) != bool(settings.ssl_keyfile):
        raise SettingError("--ssl-certfile and --ssl-keyfile belong together")
    if settings.webhook_secret_file and not Path(settings.webhook_secret_file).is_file():
        raise SettingError(f"--webhook-secret-file: there is no file {settings.webhook_secret_file}")
    if settings.ssl_ca_certs and not settings.ssl_certfile:
        raise SettingError("--ssl-ca-certs needs --ssl-certfile and --ssl-keyfile")
    try:
        server_context(settings, "http/1.1")
        check_access(settings)
        check_prediction_log(settings)
    except (UnusableFile, Unsuitable) as error:
        raise SettingError(str(error)) from None
    for flag, text in (("--model-name", settings.model_name), ("--model-version", settings.model_version)):
        if text is not None and (not text or any(char in text for char in "/:?# ")):
            raise SettingError(f"{flag}: expected a name that can stand in a URL, without / : ? # or blanks")
    if settings.env_manager != "local" and not settings.allow_code_execution:
        raise SettingError(
            f"--env-manager={settings.env_manager} installs what the model names, which may run code of the model: "
            "it does not go with --allow-code-execution=false"
        )
    if settings.feast_repo_path and settings.feast_server_url:
        raise SettingError("FEAST_REPO_PATH and FEAST_SERVER_URL are two ways to Feast: expected one of them")
    if settings.feast_feature_service and settings.feast_features:
        raise SettingError("FEAST_FEATURE_SERVICE and FEAST_FEATURES both say what to look up: expected one of them")
    if settings.feast_server_url and not settings.feast_server_url.startswith(("http://", "https://")):
        raise SettingError("FEAST_SERVER_URL: expected an address such as http://feast:6566")
    if 0 < settings.drift_window.rows < settings.drift_min_rows:
        raise SettingError(
            f"--drift-window: {settings.drift_window.rows} rows are never the {settings.drift_min_rows} of "
            "--drift-min-rows, so no drift would be reported"
        )
    if 0 < settings.max_in_flight_bytes < settings.max_body:
        raise SettingError(f"--max-in-flight-bytes: expected at least --max-body, which is {settings.max_body}")
    if settings.enable_grpc and settings.grpc_port == settings.http_port != 0:
        raise SettingError(f"--grpc-port and --http-port are both {settings.http_port}")
