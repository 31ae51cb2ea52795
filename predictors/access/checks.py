"""What the settings of access must be to make sense together; asked at the start."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from predictors.access.jwts import FileKeys, is_url
from predictors.access.reloading_file import UnusableFile
from predictors.access.tokens import token_file

if TYPE_CHECKING:
    from predictors.settings.predictor import Settings


def check(settings: Settings) -> None:
    """Raises UnusableFile with a line that names the setting."""
    tokens = {
        "--token-file": settings.token_file,
        "--admin-token-file": settings.admin_token_file,
        "--probe-token-file": settings.probe_token_file,
    }
    for setting, path in tokens.items():
        if path:
            token_file(path, setting)
    given = {
        "--jwt-jwks": settings.jwt_jwks,
        "--jwt-issuer": settings.jwt_issuer,
        "--jwt-audience": settings.jwt_audience,
    }
    if any(given.values()) and not all(given.values()):
        raise UnusableFile(
            f"{', '.join(given)} belong together; missing is {', '.join(k for k, v in given.items() if not v)}"
        )
    if settings.jwt_admin_scope and not settings.jwt_jwks:
        raise UnusableFile("--jwt-admin-scope needs --jwt-jwks, --jwt-issuer and --jwt-audience")
    if settings.jwt_jwks:
        if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
            raise UnusableFile("--jwt-jwks needs PyJWT and cryptography: pip install 'mlflow-kserve[jwt]'")
        if not is_url(settings.jwt_jwks):
            FileKeys(settings.jwt_jwks, "--jwt-jwks")
        elif "@" in settings.jwt_jwks.split("/")[2]:
            raise UnusableFile("--jwt-jwks: expected a URL without user or password")
    if settings.protect and not (any(tokens.values()) or settings.jwt_jwks):
        raise UnusableFile("--protect needs something to ask for: --token-file, --probe-token-file or --jwt-jwks")
    if settings.probe_token_file and not settings.protect:
        raise UnusableFile("--probe-token-file opens nothing as long as --protect names neither health nor metrics")
    if settings.rate_burst and not settings.rate_limit:
        raise UnusableFile("--rate-burst needs --rate-limit")
    if settings.trusted_proxies and not settings.rate_limit:
        raise UnusableFile("--trusted-proxies needs --rate-limit: addresses are used for nothing else")
