"""`mlflow-kserve up`: the control plane on this machine, with everything that it needs."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from controlplane.access.guard import CallerGuard, UnusableAccess, is_loopback
from controlplane.access.registry_webhook import RegistryWebhook
from controlplane.access.settings import ControlAccessSettings
from controlplane.api.control import Control
from controlplane.api.streams import EventFeed
from controlplane.backends.backends import Backends
from controlplane.backends.local.backend import LocalBackend
from controlplane.backends.local.ports import PortRange
from controlplane.domain.environments import EnvironmentConfig
from controlplane.exporting import Telemetry, begin_export
from controlplane.loops.loops import Loops
from controlplane.page.site import site
from controlplane.store import environments, leases
from controlplane.store.database import Store, UnusableDatabase
from controlplane.store.events import Actor, add
from predictors.rest.descriptors import raise_limit

log = logging.getLogger("controlplane")

DEFAULT_DATA = Path("~/.mlflow-kserve")
LOCAL = "local"
TELEMETRY_SECONDS = 5.0
"""How long the end waits for a collector."""
SHUTDOWN_SECONDS = 10
"""How long requests may go on after a signal."""


class UnusableSetting(Exception):
    """A flag that cannot be used; the message names it."""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="mlflow-kserve up",
        description="Start the control plane: a REST API that deploys models, and the loops that run them here.",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
    )
    result.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    result.add_argument("--port", type=int, default=8007, help="port; 0 picks a free one (default: %(default)s)")
    result.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR",
        help="folder of the database, the logs and the secrets (default: %(default)s)",
    )  # fmt: skip
    result.add_argument(
        "--database", metavar="URL", default=os.environ.get("MLFLOW_KSERVE_DATABASE"),
        help="SQLAlchemy URL of the database; also MLFLOW_KSERVE_DATABASE (default: SQLite in --data)",
    )  # fmt: skip
    result.add_argument(
        "--database-replica", metavar="URL", default=os.environ.get("MLFLOW_KSERVE_DATABASE_REPLICA"),
        help="a read replica of it, which lists are read from; also MLFLOW_KSERVE_DATABASE_REPLICA",
    )  # fmt: skip
    result.add_argument(
        "--serve-ports", type=port_range, default=PortRange(), metavar="FIRST-LAST",
        help="ports of the serves on this machine (default: 20000-29999)",
    )  # fmt: skip
    result.add_argument(
        "--stop-serves", action="store_true",
        help="end the serves of this machine with the control plane; they start again with the next one",
    )  # fmt: skip
    access = result.add_argument_group("access", "Without any of these, only this machine can reach the API.")
    access.add_argument("--admin-token-file", metavar="FILE", help="tokens that allow everything, one per line")
    access.add_argument("--jwt-jwks", metavar="FILE|URL", help="keys of the issuer of JWTs; any valid one may view")
    access.add_argument("--jwt-issuer", metavar="URL", help="issuer (iss) that JWTs must have")
    access.add_argument("--jwt-audience", metavar="NAMES", help="audiences (aud), separated by commas")
    access.add_argument("--jwt-deployer-scope", metavar="SCOPE", help="scope or role of JWTs that may deploy")
    access.add_argument("--jwt-approver-scope", metavar="SCOPE", help="scope or role of JWTs that may also approve")
    access.add_argument("--jwt-admin-scope", metavar="SCOPE", help="scope or role of JWTs that may do everything")
    result.add_argument(
        "--webhook-secret-file", metavar="FILE", default=os.environ.get("MLFLOW_KSERVE_WEBHOOK_SECRET_FILE"),
        help="secret of the registry's webhook, /hooks/mlflow; also MLFLOW_KSERVE_WEBHOOK_SECRET_FILE",
    )  # fmt: skip
    result.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return result


def port_range(text: str) -> PortRange:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) < int(last) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of ports: expected such as 20000-29999")
    return PortRange(int(first), int(last))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 2 for a setting that cannot be used."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    log.setLevel(options.log_level.upper())
    raise_limit()
    try:
        return run(options)
    except (UnusableSetting, UnusableDatabase) as error:
        print(f"mlflow-kserve up: {error}\nTry mlflow-kserve up --help.", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    data = folder(options.data)
    if options.webhook_secret_file and not Path(options.webhook_secret_file).is_file():
        raise UnusableSetting(f"--webhook-secret-file: there is no file {options.webhook_secret_file}")
    with listening(options.host, options.port) as ports:
        return serve(options, data, ports)


def listening(host: str, port: int) -> socket.socket:
    """Bound before anything else is done: a port that is taken ends the start."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise UnusableSetting(f"--port {port} on {host}: {getattr(error, 'strerror', None) or error}") from None


def serve(options: argparse.Namespace, data: Path, ports: socket.socket) -> int:
    store = Store(options.database or f"sqlite:///{data / 'controlplane.db'}", replica=options.database_replica)
    try:
        store.migrate()
        ensure_local(store)
        guard = guard_of(options, store)
        if not guard.may_be_open and not guard.knows_callers():
            raise UnusableSetting(
                f"--host {options.host} lets other machines in, and no token is known: "
                "expected --admin-token-file or --jwt-jwks, or 127.0.0.1"
            )
        backend = LocalBackend(data, options.serve_ports)
        backends = Backends(backend)
        loops = Loops(store, backends.of, leases.this_process(), data)
        control = Control(
            store=store,
            backend_of=backends.of,
            guard=guard,
            mark=loops.mark,
            mark_artifacts=loops.artifacts_wanted.set,
            acts=lambda: loops.acts,
            waiting=loops.queue.__len__,
            metrics=loops.metrics.registry,
            registry_webhook=RegistryWebhook(options.webhook_secret_file, data),
            mark_followed=loops.followed_moved.set,
            last_seen=loops.last_seen,
        )
        app = site(control)
        telemetry = begin_export()
        trace(app, loops, telemetry)
        server = ControlServer(config_of(app), app.state.feed)
        server.announcement = "open to anybody on this machine" if guard.is_open() else "with tokens"
        loops.start()
        try:
            server.run(sockets=[ports])
        finally:
            loops.close()
            telemetry.close(TELEMETRY_SECONDS)
            if options.stop_serves:
                backend.stop_all()
            backends.close()
            report_left(backend, options.stop_serves)
        return 0 if server.started else 1
    finally:
        store.close()


def config_of(app: Starlette) -> uvicorn.Config:
    """Of the parsers, h11 alone limits the head of a request, which everybody may send."""
    return uvicorn.Config(
        app, http="h11", log_level="warning", loop="uvloop", lifespan="off",
        server_header=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )  # fmt: skip


def trace(app: Starlette, loops: Loops, telemetry: Telemetry) -> None:
    """Has requests and changes make spans; what OpenTelemetry needs is imported only here."""
    if telemetry.tracing is None:
        return
    from controlplane.api.tracing import OperationSpans, TracingMiddleware

    tracer = telemetry.tracing.provider.get_tracer("mlflow-kserve")
    app.add_middleware(TracingMiddleware, tracer=tracer)
    loops.reconciler.ended = OperationSpans(tracer).ended


class ControlServer(uvicorn.Server):
    """Says where it listens, once it does, and leaves what comes after a signal to `run`."""

    announcement = ""

    def __init__(self, config: uvicorn.Config, feed: EventFeed) -> None:
        super().__init__(config)
        self.feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends streams first: they would never end by themselves."""
        self.feed.close()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            print(
                f"The control plane answers on {url} ({self.announcement}); /ui is its page, /docs shows its routes.",
                flush=True,
            )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def folder(path: Path) -> Path:
    """The data folder, for the owner alone: its logs may hold what models print."""
    data = path.expanduser().absolute()
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(data, os.W_OK):
            raise PermissionError(13, "Permission denied", str(data))
    except OSError as error:
        raise UnusableSetting(f"--data {data}: {error.strerror}") from None
    return data


def ensure_local(store: Store) -> None:
    """The environment of this machine, unless it was made before."""
    with store.writing() as tx:
        if environments.find(tx, LOCAL) is None:
            now = store.now()
            environments.add(tx, now, LOCAL, EnvironmentConfig())
            add(tx, now, Actor("controlplane", "start"), "environment.create", env=LOCAL)


def guard_of(options: argparse.Namespace, store: Store) -> CallerGuard:
    jwt = (options.jwt_jwks, options.jwt_issuer, options.jwt_audience)
    if any(jwt) and not all(jwt):
        raise UnusableSetting("--jwt-jwks, --jwt-issuer and --jwt-audience belong together")
    scopes = (options.jwt_deployer_scope, options.jwt_approver_scope, options.jwt_admin_scope)
    if any(scopes) and not options.jwt_jwks:
        raise UnusableSetting("--jwt-deployer-scope, --jwt-approver-scope and --jwt-admin-scope need --jwt-jwks")
    audience = frozenset(name.strip() for name in (options.jwt_audience or "").split(",") if name.strip())
    settings = ControlAccessSettings(
        options.admin_token_file, options.jwt_jwks, options.jwt_issuer, audience,
        *scopes,
    )  # fmt: skip
    try:
        return CallerGuard(settings, store, may_be_open=is_loopback(options.host))
    except UnusableAccess as error:
        raise UnusableSetting(str(error)) from None


def report_left(backend: LocalBackend, stopped: bool) -> None:
    count = len(backend.records.known())
    if count and not stopped:
        print(
            f"{count} serves go on; the next `mlflow-kserve up` takes them over. --stop-serves would end them.",
            flush=True,
        )
