"""OpenTelemetry, switched on by its standard variables: sets up the export of traces and metrics, and ends it.

OpenTelemetry is imported only if a variable asks for it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from predictors.telemetry.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from predictors.telemetry.metrics_export import MetricsExport
    from predictors.telemetry.tracing import OtelTracer

log = logging.getLogger("predictors")

PROTOCOLS = {"grpc": "grpc", "http/protobuf": "http"}
EXTRA = "pip install 'mlflow-kserve[otel]'"


class TelemetryError(Exception):
    """What a variable asks for is not available; the message names it."""


def is_exported(signal: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the signal, `traces` or `metrics`, is exported."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = exporter_name(signal, environ)
    return exporter != "none" and bool(
        exporter
        or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    )


def exporter_name(signal: str, environ: Mapping[str, str]) -> str:
    return environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()


class Telemetry:
    """The exports of one process."""

    def __init__(self) -> None:
        self.tracing: OtelTracer | None = None
        self.metrics: MetricsExport | None = None

    def close(self, seconds: float) -> None:
        """Sends what is left, and waits no longer than that for the collector."""

        def send() -> None:
            for export in (self.tracing, self.metrics):
                if export is not None:
                    export.close()

        if self.tracing is not None or self.metrics is not None:
            sending = threading.Thread(target=send, name="telemetry", daemon=True)
            sending.start()
            sending.join(seconds)
            if sending.is_alive():
                log.warning("telemetry was not sent in time; some of it is lost")


def begin(settings: ServiceSettings, index: int, signals: Sequence[str] = ("traces", "metrics")) -> Telemetry:
    """Starts the exports that the variables ask for, with threads of their own: call it in the process that serves.

    An export that is not available is logged and left out: these variables are often set for a whole cluster, and are
    no reason not to serve.
    """
    wanted = [signal for signal in signals if is_exported(signal)]
    telemetry, started = Telemetry(), []
    if not wanted:
        return telemetry
    # A malformed header would be logged in full, and is a secret.
    logging.getLogger("opentelemetry.util.re").addFilter(without_arguments)
    try:
        resource = resource_of(settings, index)
    except ImportError:
        log.warning("OTEL_* variables ask for %s, which needs an extra: %s", " and ".join(wanted), EXTRA)
        return telemetry
    for signal in wanted:
        try:
            exporter = make_exporter(signal)
            if signal == "traces":
                from predictors.telemetry.tracing import OtelTracer

                telemetry.tracing = OtelTracer(resource, exporter)
            else:
                from predictors.telemetry.metrics_export import MetricsExport

                telemetry.metrics = MetricsExport(resource, exporter)
        except Exception as error:
            reason = str(error) if isinstance(error, TelemetryError) else f"{type(error).__name__} in the exporter"
            log.warning("%s are not exported: %s", signal, reason)
            log.debug("no exporter", exc_info=True)
        else:
            started.append(signal)
    if started:
        log.info("OpenTelemetry: exporting %s", " and ".join(started))
    return telemetry


def make_exporter(signal: str) -> Any:
    name = exporter_name(signal, os.environ) or "otlp"
    if name == "otlp":
        name = f"otlp_proto_{otlp_protocol(signal)}"
    entry_point = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
    if entry_point is None and name.startswith("otlp_proto_"):
        raise TelemetryError(f"the exporter needs an extra: {EXTRA}")
    if entry_point is None:
        raise TelemetryError(f"OTEL_{signal.upper()}_EXPORTER: no exporter '{name}'; expected otlp, console or none")
    exporter = entry_point.load()()
    if not hasattr(exporter, "export"):
        raise TelemetryError(f"OTEL_{signal.upper()}_EXPORTER: '{name}' sends nothing; expected otlp, console or none")
    return exporter


def otlp_protocol(signal: str, environ: Mapping[str, str] = os.environ) -> str:
    """HTTP by default, as the specification says; port 4317 means gRPC."""
    specific = f"OTEL_EXPORTER_OTLP_{signal.upper()}"
    protocol = (environ.get(f"{specific}_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "").strip()
    if protocol:
        if protocol not in PROTOCOLS:
            raise TelemetryError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is none of {', '.join(PROTOCOLS)}")
        return PROTOCOLS[protocol]
    endpoint = environ.get(f"{specific}_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ""
    return "grpc" if urlsplit(endpoint).netloc.endswith(":4317") else "http"


def resource_of(settings: ServiceSettings, index: int) -> Resource:
    """The resource of this process: named after the model unless a variable names it, and distinct from all others."""
    from uuid import uuid4

    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

    resource = Resource.create()
    own: dict[str, Any] = {}
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        own[SERVICE_NAME] = settings.model_name
    if f"{SERVICE_INSTANCE_ID}=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        own[SERVICE_INSTANCE_ID] = str(uuid4())
    elif settings.workers > 1:
        own[SERVICE_INSTANCE_ID] = f"{resource.attributes.get(SERVICE_INSTANCE_ID)}-{index}"
    return resource.merge(Resource(own))


def without_arguments(record: logging.LogRecord) -> bool:
    record.msg, record.args = "an OTEL_* variable with headers cannot be read: expected name=value,name=value", ()
    return True
