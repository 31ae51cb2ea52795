"""Who may send requests, and how often: tokens, JWTs, certificates and rate limits."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from predictors.access.addresses import FORWARDED, Network, parse_networks
from predictors.access.jwts import FileKeys, is_url
from predictors.access.limits import Rate, parse_rate
from predictors.access.tls import server_context
from predictors.access.tokens import token_file
from predictors.settings.declare import SettingError, setting
from predictors.settings.values import between, choice, names, some_of


@dataclass(frozen=True)
class TlsSettings:
    ssl_certfile: str | None = setting(
        None,
        "certificate file for HTTPS and gRPC, with the chain; HTTPS then listens on port 8443 unless --http-port is "
        "given",
        env=("KSERVE_TLS_CERT_FILE",),
        metavar="FILE",
    )
    ssl_keyfile: str | None = setting(
        None, "private key file for HTTPS and gRPC", env=("KSERVE_TLS_KEY_FILE",), metavar="FILE"
    )
    ssl_ca_certs: str | None = setting(
        None, "file with CA certificates; clients must then present a certificate from one of them", metavar="FILE"
    )


@dataclass(frozen=True)
class AccessSettings:
    token_file: str | None = setting(
        None,
        "file with the tokens that clients need, one per line: token, name:token or name:sha256:digest",
        metavar="FILE",
        group="Access",
    )
    admin_token_file: str | None = setting(
        None,
        "file with the tokens that open every route, including load, revert and unload",
        metavar="FILE",
        group="Access",
    )
    probe_token_file: str | None = setting(
        None,
        "file with tokens that open only the routes of --protect; the tokens of clients then do not open them",
        metavar="FILE",
        group="Access",
    )
    protect: frozenset[str] = setting(
        frozenset(),
        "further routes that need a token: health, metrics, or both",
        some_of("health", "metrics"),
        group="Access",
        metavar="NAMES",
        shown="none: both are open",
    )
    jwt_jwks: str | None = setting(
        None, "keys of the issuer of JWTs: a JWKS file or its URL", metavar="FILE|URL", group="Access"
    )
    jwt_issuer: str | None = setting(None, "issuer (iss) that JWTs must have", metavar="URL", group="Access")
    jwt_audience: frozenset[str] = setting(
        frozenset(),
        "audiences (aud), separated by commas; JWTs must have one of them",
        names,
        group="Access",
        shown="none",
    )
    jwt_admin_scope: str | None = setting(
        None,
        "scope or role of JWTs that open every route, including load, revert and unload",
        group="Access",
        metavar="SCOPE",
    )
    rate_limit: Rate | None = setting(
        None,
        "maximum rate of predictions per client: 100/s, 6000/m, 10000/h",
        parse_rate,
        group="Access",
        metavar="RATE",
    )
    rate_burst: int | None = setting(
        None,
        "how many predictions a client may request at once",
        between(1),
        group="Access",
        shown="the number in --rate-limit",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        "proxies that are trusted to name the addresses of their clients: addresses or networks, separated by commas",
        parse_networks,
        group="Access",
        metavar="NETWORKS",
        shown="none",
    )
    forwarded_header: str = setting(
        FORWARDED[0], "header in which these proxies name the client", choice(*FORWARDED), group="Access"
    )


def check_tls(settings: TlsSettings) -> None:
    if bool(settings.ssl_certfile) != bool(settings.ssl_keyfile):
        raise SettingError("--ssl-certfile and --ssl-keyfile belong together")
    if settings.ssl_ca_certs and not settings.ssl_certfile:
        raise SettingError("--ssl-ca-certs needs --ssl-certfile and --ssl-keyfile")
    server_context(settings, "http/1.1")


def check(settings: AccessSettings) -> None:
    tokens = {
        "--token-file": settings.token_file,
        "--admin-token-file": settings.admin_token_file,
        "--probe-token-file": settings.probe_token_file,
    }
    for flag, path in tokens.items():
        if path:
            token_file(path, flag)
    check_jwt(settings)
    if settings.protect and not (any(tokens.values()) or settings.jwt_jwks):
        raise SettingError("--protect needs --token-file, --probe-token-file or --jwt-jwks: no token is known")
    if settings.probe_token_file and not settings.protect:
        raise SettingError("--probe-token-file opens nothing as long as --protect names neither health nor metrics")
    if settings.rate_burst and not settings.rate_limit:
        raise SettingError("--rate-burst needs --rate-limit")
    if settings.trusted_proxies and not settings.rate_limit:
        raise SettingError("--trusted-proxies needs --rate-limit: addresses are used for nothing else")


def check_jwt(settings: AccessSettings) -> None:
    required = {
        "--jwt-jwks": settings.jwt_jwks,
        "--jwt-issuer": settings.jwt_issuer,
        "--jwt-audience": settings.jwt_audience,
    }
    missing = [flag for flag, value in required.items() if not value]
    if missing and len(missing) < len(required):
        raise SettingError(f"{', '.join(required)} belong together: {', '.join(missing)} is missing")
    if settings.jwt_admin_scope and not settings.jwt_jwks:
        raise SettingError("--jwt-admin-scope needs --jwt-jwks, --jwt-issuer and --jwt-audience")
    if not settings.jwt_jwks:
        return
    if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
        raise SettingError("--jwt-jwks needs PyJWT and cryptography: pip install 'mlflow-kserve[jwt]'")
    if not is_url(settings.jwt_jwks):
        FileKeys(settings.jwt_jwks, "--jwt-jwks")
    elif "@" in settings.jwt_jwks.split("/")[2]:
        raise SettingError("--jwt-jwks: expected a URL without user or password")
