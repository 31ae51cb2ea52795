"""TLS for HTTP and gRPC; a certificate that is renewed on disk is used from the next connection on."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from predictors.access.reloading_file import ReloadingFile, UnusableFile

if TYPE_CHECKING:
    from predictors.access.settings import TlsSettings


@dataclass(frozen=True)
class PemFiles:
    certificate: bytes
    key: bytes
    authorities: bytes | None


TlsFiles: TypeAlias = "ReloadingFile[PemFiles]"


def tls_files(settings: TlsSettings) -> TlsFiles | None:
    """The files themselves, for a server that has an SSL library of its own; None without certificates."""
    certificate, key, authorities = settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_ca_certs
    if not certificate or not key:
        return None

    def load() -> PemFiles:
        server_context(settings, "h2")  # for its errors
        return PemFiles(
            Path(certificate).read_bytes(),
            Path(key).read_bytes(),
            Path(authorities).read_bytes() if authorities else None,
        )

    paths = [path for path in (certificate, key, authorities) if path]
    return ReloadingFile(paths, "--ssl-certfile, --ssl-keyfile" + (", --ssl-ca-certs" if authorities else ""), load)


def server_context(settings: TlsSettings, protocol: str) -> ssl.SSLContext | None:
    """For a server that speaks `protocol` (as ALPN calls it); None without certificates. Raises UnusableFile."""
    certificate, key, authorities = settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_ca_certs
    if not certificate or not key:
        return None

    def load() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([protocol])
        try:
            context.load_cert_chain(certificate, key, no_password)
        except ssl.SSLError as error:
            raise UnusableFile(f"{certificate} and {key}: {reason(error)}") from None
        if authorities:
            try:
                context.load_verify_locations(authorities)
            except ssl.SSLError:
                raise UnusableFile(f"{authorities}: expected certificates in PEM") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def renew(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        """Called in each handshake, whether or not the client names a server."""
        connection.context = files.current()

    paths = [path for path in (certificate, key, authorities) if path]
    files = ReloadingFile(paths, "--ssl-certfile, --ssl-keyfile" + (", --ssl-ca-certs" if authorities else ""), load)
    context = files.value
    context.sni_callback = renew
    return context


def no_password() -> str:
    raise UnusableFile("the key is encrypted; expected one without a password")


def reason(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return "expected a certificate and its key in PEM"
