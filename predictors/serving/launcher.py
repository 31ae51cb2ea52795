"""`--env-manager`: fetches the model, finds or builds its environment, and starts a server there.

The launcher imports nothing heavy and stays as the parent process. It keeps the ports, so a server in one environment
can replace a server in another without a refused connection.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import predictors
from predictors.environments.dependencies import DependencyError
from predictors.environments.environment import default_cache, ensure_environment, is_complete
from predictors.environments.installers import InstallerError
from predictors.environments.recipe import PRODUCT, EnvironmentFailed, recipe_for
from predictors.flavor import FlavorError, read_mlmodel
from predictors.pipeline.settings import Settings
from predictors.processes.forking import end_with_parent
from predictors.processes.handover import VARIABLE, Channel, source_as_json, source_from_json
from predictors.processes.ports import Ports, StartError, bound_ports
from predictors.storage.failures import SourceError, one_line
from predictors.storage.source import Source, is_local, resolve

log = logging.getLogger("predictors")

MAX_REPLY_SECONDS = 5.0  # for a server that was replaced to say so to the callers that asked for it
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# The first two describe another environment. Images set the last one for themselves: in an environment that is kept,
# every start would compile everything anew.
NOT_PASSED_ON = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
PREPARATION_ERRORS = (SourceError, FlavorError, DependencyError, EnvironmentFailed, InstallerError, OSError)


class Stopped(BaseException):
    """A signal came before there was a server."""


class ProcessFailed(SourceError):
    """Another process has failed; the message is its own."""


class EnvironmentServer:
    """A server process in an environment."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel, folder: Path, source: Source) -> None:
        self.process, self.channel, self.environment, self.source = process, channel, folder, source
        self.stopping = False

    def wait_ready(self) -> str | None:
        """Waits until the server is ready; why it is not, if it fails."""
        while (message := self.channel.receive()) is not None:
            if "ready" in message:
                return None
            if "failed" in message:
                return str(message["failed"])
        return f"its server ended with status {exit_status(self.process.wait())}"


class ResponderProcess:
    """Answers probes while there is no server: alive, not ready, and how far the preparations are."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.statuses, receiving = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.statuses.close()
            run_in_child(lambda: respond(settings, ports, receiving))
        receiving.close()

    def show(self, status: str) -> None:
        self.statuses.sendall(status.encode() + b"\n")

    def stop(self) -> None:
        self.statuses.close()
        os.waitpid(self.pid, 0)


class Launcher:
    def __init__(self, settings: Settings, module: str, arguments: Sequence[str], ports: Ports, folder: Path) -> None:
        self.settings, self.module, self.arguments, self.ports, self.folder = settings, module, arguments, ports, folder
        self.cache = Path(settings.env_cache).absolute() if settings.env_cache else default_cache()
        self.servers: list[EnvironmentServer] = []
        self.preparing = self.stopped = False
        self.responder: ResponderProcess | None = None

    def run(self) -> int:
        """Serves until a signal or a failure; the exit status, which is the server's."""
        for number in SIGNALS:
            signal.signal(number, self.forward)
        signal.signal(signal.SIGHUP, self.pass_on)
        self.offer_package()
        try:
            with self.interruptible(), self.probes_answered():
                source = resolve(self.settings) if is_local(self.settings) else self.fetch()
                folder = self.environment(source)
        except Stopped:
            return 0
        except PREPARATION_ERRORS as error:
            log.error("%s", in_short(error))
            return 1
        server = self.start(folder, source)
        started = False
        while (message := server.channel.receive()) is not None:
            started = True
            if "replace" in message:
                server = self.replace(server, source_from_json(message["replace"]))
        code = exit_status(server.process.wait())
        if started or self.stopped:
            return code
        log.error("the server ended with status %d before it was ready, and has not said why", code)
        return code or 1

    def forward(self, number: int, frame: object) -> None:
        """Passes a signal on to the servers; preparations end with it."""
        self.stopped = True
        for server in self.servers:
            if not server.stopping:  # a second signal would cut off its requests in flight
                server.process.send_signal(number)
        if self.preparing:
            self.preparing = False
            raise Stopped

    def pass_on(self, number: int, frame: object) -> None:
        """Passes a signal on that ends nothing."""
        for server in self.servers:
            server.process.send_signal(number)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A signal raises `Stopped` inside of it."""
        self.preparing = True
        try:
            yield
        finally:
            self.preparing = False

    def note(self, status: str) -> None:
        log.info(status)
        if self.responder is not None:
            self.responder.show(status)

    # -- the model and its environment --------------------------------------------------------------------------

    def fetch(self) -> Source:
        """The model, resolved and downloaded by a process of its own: this one does not import MLflow."""
        self.answer_probes()
        ours, theirs = map(Channel, socket.socketpair())
        pid = os.fork()
        if pid == 0:
            run_in_child(lambda: theirs.send(**self.fetch_in_child()))
        theirs.close()
        try:
            with closing(ours):
                reply = ours.receive() or {"error": "the process that fetches the model ended without a result"}
        except Stopped:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.waitpid(pid, 0)
        if "error" in reply:
            raise ProcessFailed(reply["error"])
        return source_from_json(reply)

    def fetch_in_child(self) -> dict[str, Any]:
        try:
            return source_as_json(resolve(self.settings, self.note, self.folder))
        except SourceError as error:
            return {"error": str(error)}
        except Exception as error:
            return {"error": f"the model cannot be fetched: {one_line(error)}"}

    def environment(self, source: Source) -> Path:
        """The folder of the environment that the model needs, built if it is not there."""
        needed = recipe_for(read_mlmodel(source.path), self.settings)
        if not is_complete(self.cache / needed.key) and not self.servers:
            self.answer_probes()
        folder = ensure_environment(needed, self.cache, self.note)
        log.info("the model's environment is %s", folder)
        return folder

    # -- servers ------------------------------------------------------------------------------------------------

    def start(self, folder: Path, source: Source, takes_over: bool = False) -> EnvironmentServer:
        ours, theirs = socket.socketpair()
        sockets = [listening.fileno() for listening in (self.ports.http, self.ports.grpc) if listening is not None]
        handover = {
            "source": source_as_json(source), "sockets": sockets, "channel": theirs.fileno(),
            "folder": str(self.folder), "takes_over": takes_over,
        }  # fmt: skip
        environ = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        environ |= {VARIABLE: json.dumps(handover), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self.folder / "site"), os.environ.get("PYTHONPATH"))))
        with theirs, hangup_ignored():
            process = subprocess.Popen(  # noqa: S603 - our own command
                [str(folder / "bin" / "python"), "-P", "-m", self.module, *self.arguments],
                env=environ, pass_fds=[*sockets, theirs.fileno()], process_group=0,
            )  # fmt: skip
        server = EnvironmentServer(process, Channel(ours), folder, source)
        self.servers.append(server)
        if self.stopped:  # the signal came before this server was listed
            process.terminate()
        return server

    def replace(self, server: EnvironmentServer, source: Source) -> EnvironmentServer:
        """The server that answers from now on: another one with this model, or the same if that is not possible."""
        try:
            with self.interruptible():
                folder = self.environment(source)
        except Stopped:
            return server  # it has had the signal, too
        except PREPARATION_ERRORS as error:
            log.error("%s stays: %s", server.source.resolved_uri, error)
            server.channel.send(error=in_short(error))
            return server
        if folder == server.environment:
            server.channel.send(replaced=False)
            return server
        try:
            source = self.keep_download(source)
            candidate = self.start(folder, source, takes_over=True)
        except OSError as error:  # such as a full disk
            server.channel.send(error=one_line(error))
            return server
        reason = candidate.wait_ready()
        if reason is not None:
            self.remove(candidate)
            server.channel.send(error=reason)
            return server
        log.info("%s takes over from %s", source.resolved_uri, server.source.resolved_uri)
        server.channel.send(replaced=True)
        server.channel.wait(MAX_REPLY_SECONDS)
        # Not SIGTERM, after which a pod takes new requests for the drain delay: the other server has the ports now.
        server.process.send_signal(signal.SIGINT)
        server.stopping = True
        self.remove(server)
        return candidate

    def keep_download(self, source: Source) -> Source:
        """Moves what a server downloaded, and would remove when it ends: its successor needs it."""
        if not source.path.is_relative_to(self.folder):
            return source
        kept = Path(tempfile.mkdtemp(prefix="model-", dir=self.folder)) / source.path.name
        source.path.rename(kept)
        return replace(source, path=kept)

    def remove(self, server: EnvironmentServer) -> None:
        """Waits for a server that ends, and removes what was downloaded for it."""
        server.process.wait()
        server.channel.close()
        self.servers.remove(server)
        if server.source.path.is_relative_to(self.folder):
            shutil.rmtree(server.source.path, ignore_errors=True)

    def offer_package(self) -> None:
        """Environments hold no copy of this package: they import the one that runs, and only that, from this folder."""
        site = self.folder / "site"
        site.mkdir()
        (site / "predictors").symlink_to(Path(predictors.__path__[0]).resolve())
        installed = metadata.distribution(PRODUCT)
        info = site / f"{PRODUCT.replace('-', '_')}-{installed.version}.dist-info"
        info.mkdir()
        for name in ("METADATA", "entry_points.txt"):
            (info / name).write_text(installed.read_text(name) or "")

    # -- until there is a server --------------------------------------------------------------------------------

    @contextmanager
    def probes_answered(self) -> Iterator[None]:
        """Stops at its end whatever `answer_probes` has started."""
        try:
            yield
        finally:
            if self.responder is not None:
                self.responder.stop()
                self.responder = None

    def answer_probes(self) -> None:
        """Starts the responder, because the preparations will take a while."""
        if self.responder is None:
            self.responder = ResponderProcess(self.settings, self.ports)


def respond(settings: Settings, ports: Ports, statuses: socket.socket) -> None:
    """Answers probes until the launcher closes the socket; each line from it is the new status."""
    from predictors.processes.shared_state import SharedState
    from predictors.processes.workers import STARTUP_RESPONDER
    from predictors.serving.process import Serving

    shared = SharedState(1)

    def follow() -> None:
        for line in statuses.makefile("r", encoding="utf-8"):
            shared.startup.status = line.rstrip()
        os.kill(os.getpid(), signal.SIGTERM)

    with closing(shared):
        threading.Thread(target=follow, daemon=True).start()
        Serving(replace(settings, env_manager="local", workers=1)).run_worker(ports, shared, STARTUP_RESPONDER)


@contextmanager
def hangup_ignored() -> Iterator[None]:
    """Programs that are started here ignore SIGHUP until they handle it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def run_in_child(work: Callable[[], object]) -> NoReturn:
    """Does the work in a process that was just forked, and ends it."""
    try:
        end_with_parent()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.setpgid(0, 0)  # signals from the keyboard are for the launcher alone
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        work()
    except BaseException:
        log.exception("a process of the launcher failed")
    finally:
        logging.shutdown()
        os._exit(0)


def in_short(error: Exception) -> str:
    return one_line(error) if isinstance(error, OSError) else str(error)


def exit_status(code: int) -> int:
    """As shells show it for a process that a signal has ended."""
    return 128 - code if code < 0 else code


def launch(settings: Settings, module: str, arguments: Sequence[str]) -> int:
    """Serves the model in an environment of its own; the exit status of the process."""
    try:
        ports = bound_ports(settings)
    except StartError as error:
        log.error("%s", error)
        return 1
    with closing(ports), tempfile.TemporaryDirectory(prefix="mlflow-kserve-", ignore_cleanup_errors=True) as folder:
        return Launcher(settings, module, arguments, ports, Path(folder)).run()
