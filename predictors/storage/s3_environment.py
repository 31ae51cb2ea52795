"""KServe's variables for S3, translated to those that MLflow's client reads."""

from __future__ import annotations

import json
import os
from typing import Any

from predictors.storage.failures import Misconfigured


def configure_s3() -> None:
    """Sets credentials and options of S3 in this process's environment."""
    config = {**json_variable("STORAGE_CONFIG"), **json_variable("STORAGE_OVERRIDE_CONFIG")}
    if config.get("type") == "s3":
        for variable, key in (
            ("AWS_ENDPOINT_URL", "endpoint_url"),
            ("AWS_ACCESS_KEY_ID", "access_key_id"),
            ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
            ("AWS_DEFAULT_REGION", "region"),
            ("AWS_CA_BUNDLE", "ca_bundle"),
            ("S3_VERIFY_SSL", "verify_ssl"),
            ("awsAnonymousCredential", "anonymous"),
        ):
            if config.get(key):
                os.environ[variable] = str(config[key])
    environ = {name: value.lower() for name, value in os.environ.items()}
    if environ.get("S3_ENDPOINT") and not environ.get("AWS_ENDPOINT_URL"):
        secure = environ.get("S3_USE_HTTPS", "1") not in ("0", "false")
        os.environ["AWS_ENDPOINT_URL"] = f"http{'s' if secure else ''}://{os.environ['S3_ENDPOINT']}"
    if environ.get("S3_VERIFY_SSL") in ("0", "false"):
        os.environ.setdefault("MLFLOW_S3_IGNORE_TLS", "true")
    if environ.get("S3_USER_VIRTUAL_BUCKET") == "true":
        os.environ.setdefault("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "virtual")
    if environ.get("awsAnonymousCredential") == "true":
        os.environ.setdefault("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION", "unsigned")


def json_variable(name: str) -> dict[str, Any]:
    try:
        content = json.loads(os.environ.get(name) or "{}")
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Misconfigured(f"{name}: expected a JSON object")
    return content
