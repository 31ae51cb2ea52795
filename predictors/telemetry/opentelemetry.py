"""OpenTelemetry, switched on by its usual variables: where traces and metrics go, and that they are sent in the end.

Nothing of it is imported before a variable asks for it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from importlib import import_module
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
    """What a variable asks for cannot be had; the message names it."""


def asked_for(signal: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `traces` or `metrics` are to be exported."""
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
    """What one process exports."""

    def __init__(self, tracing: OtelTracer | None = None, metrics: MetricsExport | None = None) -> None:
        self.tracing = tracing
        self.metrics = metrics

    def close(self, seconds: float) -> None:
        """Sends what there is; a collector that does not answer is not waited for any longer."""

        def send() -> None:
            for one in (self.tracing, self.metrics):
                if one is not None:
                    one.close()

        if self.tracing is not None or self.metrics is not None:
            sending = threading.Thread(target=send, name="telemetry", daemon=True)
            sending.start()
            sending.join(seconds)
            if sending.is_alive():
                log.warning("telemetry was not sent in time; some of it is lost")


def begin(settings: ServiceSettings, index: int) -> Telemetry:
    """Starts what is asked for, with threads of its own: to be called in the process that serves.

    What cannot be had is said and left out. These variables are often set for a whole cluster: no reason not to serve.
    """
    wanted = [signal for signal in ("traces", "metrics") if asked_for(signal)]
    if not wanted:
        return Telemetry()
    # A header that cannot be read would be logged whole, and is a secret.
    logging.getLogger("opentelemetry.util.re").addFilter(without_arguments)
    made: dict[str, Any] = {}
    try:
        resource = resource_of(settings, index)
    except ImportError:
        log.warning("OTEL_* variables ask for %s, which needs an extra: %s", " and ".join(wanted), EXTRA)
        return Telemetry()
    for signal in wanted:
        try:
            exporter = make_exporter(signal)
            if signal == "traces":
                made["tracing"] = import_module("predictors.telemetry.tracing").Tracing(resource, exporter)
            else:
                made["metrics"] = import_module("predictors.telemetry.metrics_export").MetricsExport(resource, exporter)
        except Exception as error:
            words = str(error) if isinstance(error, TelemetryError) else f"{type(error).__name__} in the exporter"
            log.warning("%s are not exported: %s", signal, words)
            log.debug("no exporter", exc_info=True)
    if made:
        log.info("OpenTelemetry: exporting %s", " and ".join("traces" if one == "tracing" else one for one in made))
    return Telemetry(**made)


def make_exporter(signal: str) -> Any:
    name = exporter_name(signal, os.environ) or "otlp"
    if name == "otlp":
        name = f"otlp_proto_{otlp_protocol(signal)}"
    found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
    if found is None and name.startswith("otlp_proto_"):
        raise TelemetryError(f"the exporter needs an extra: {EXTRA}")
    if found is None:
        raise TelemetryError(f"OTEL_{signal.upper()}_EXPORTER: no exporter '{name}'; expected otlp, console or none")
    made = found.load()()
    if not hasattr(made, "export"):
        raise TelemetryError(f"OTEL_{signal.upper()}_EXPORTER: '{name}' sends nothing; expected otlp, console or none")
    return made


def otlp_protocol(signal: str, environ: Mapping[str, str] = os.environ) -> str:
    """HTTP unless something else is asked for, as the specification has it; 4317 is the port of gRPC."""
    specific = f"OTEL_EXPORTER_OTLP_{signal.upper()}"
    given = (environ.get(f"{specific}_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "").strip()
    if given:
        if given not in PROTOCOLS:
            raise TelemetryError(f"OTEL_EXPORTER_OTLP_PROTOCOL: {given!r} is none of {', '.join(PROTOCOLS)}")
        return PROTOCOLS[given]
    endpoint = environ.get(f"{specific}_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ""
    return "grpc" if urlsplit(endpoint).netloc.endswith(":4317") else "http"


def resource_of(settings: ServiceSettings, index: int) -> Resource:
    """Who exports: named after the model unless the environment says otherwise, and no two processes alike."""
    from uuid import uuid4

    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

    found = Resource.create()
    own: dict[str, Any] = {}
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        own[SERVICE_NAME] = settings.model_name
    given = found.attributes.get(SERVICE_INSTANCE_ID)
    if f"{SERVICE_INSTANCE_ID}=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        own[SERVICE_INSTANCE_ID] = str(uuid4())
    elif settings.workers > 1:
        own[SERVICE_INSTANCE_ID] = f"{given}-{index}"
    return found.merge(Resource(own))


def without_arguments(record: logging.LogRecord) -> bool:
    record.msg, record.args = "an OTEL_* variable with headers cannot be read: expected name=value,name=value", ()
    return True
