"""`--env-manager`: fetches the model, finds or builds its environment, and serves it there in a process of its own.

The launcher imports nothing heavy and stays as the parent. It keeps the ports, so a server in one environment can give
way to a server in another without a refused connection.
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
from predictors.environments.environment import OURS, EnvironmentFailed, default_cache, environment, is_complete, recipe
from predictors.environments.installers import InstallerError
from predictors.flavor import FlavorError, read_mlmodel
from predictors.processes.forking import end_with_parent
from predictors.processes.handover import VARIABLE, Channel, source_as_json, source_from_json
from predictors.processes.ports import Ports, StartError, bound_ports
from predictors.settings.predictor import Settings
from predictors.storage.failures import SourceError
from predictors.storage.retries import one_line
from predictors.storage.source import Source, is_here, resolve

log = logging.getLogger("predictors")

FAREWELL = 5.0  # seconds for a server to tell those who asked for another one that it is there
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# They speak of another environment; and images that forbid to write bytecode do not mean environments that are kept,
# where every start would compile everything anew.
NOT_PASSED_ON = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
PROBLEMS = (SourceError, FlavorError, DependencyError, EnvironmentFailed, InstallerError, OSError)


class Stopped(BaseException):
    """A signal came while there was nothing but preparations."""


class ProcessFailed(SourceError):
    """What another process could not do, in its words."""


class EnvironmentServer:
    """A server in an environment."""

    def __init__(self, process: subprocess.Popen[bytes], door: Channel, folder: Path, source: Source) -> None:
        self.process, self.door, self.environment, self.source = process, door, folder, source
        self.leaving = False

    def wait_ready(self) -> str | None:
        """Why it is not; None once it is."""
        while (message := self.door.receive()) is not None:
            if "ready" in message:
                return None
            if "failed" in message:
                return str(message["failed"])
        return f"its server ended with status {status(self.process.wait())}"


class Launcher:
    def __init__(self, settings: Settings, module: str, arguments: Sequence[str], ports: Ports, folder: Path) -> None:
        self.settings, self.module, self.arguments, self.ports, self.folder = settings, module, arguments, ports, folder
        self.cache = Path(settings.env_cache).absolute() if settings.env_cache else default_cache()
        self.servers: list[EnvironmentServer] = []
        self.preparing = self.stopped = False
        self.greeting: tuple[int, socket.socket] | None = None
        """While probes are answered by somebody else than a server: who does, and how to tell what to say."""

    def run(self) -> int:
        """Serves until a signal or a failure; the exit status, which is the server's."""
        for number in SIGNALS:
            signal.signal(number, self.forward)
        self.offer_ourselves()
        try:
            with self.prepared(), self.greeter():
                source = resolve(self.settings) if is_here(self.settings) else self.fetched()
                folder = self.environment(source)
        except Stopped:
            return 0
        except PROBLEMS as error:
            log.error("%s", one_line(error) if isinstance(error, OSError) else error)
            return 1
        server = self.start(folder, source)
        while (message := server.door.receive()) is not None:
            if "replace" in message:
                server = self.replaced(server, source_from_json(message["replace"]))
        return status(server.process.wait())

    def forward(self, number: int, frame: object) -> None:
        self.stopped = True
        for server in self.servers:
            if not server.leaving:  # a second signal would cut off what it has in flight
                server.process.send_signal(number)
        if self.preparing:
            self.preparing = False
            raise Stopped

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """While this lasts, a signal ends it."""
        self.preparing = True
        try:
            yield
        finally:
            self.preparing = False

    def note(self, text: str) -> None:
        log.info(text)
        if self.greeting is not None:
            self.greeting[1].sendall(text.encode() + b"\n")

    # -- the model ----------------------------------------------------------------------------------------------

    def fetched(self) -> Source:
        """Resolved and downloaded by a process of its own: MLflow is not wanted in this one."""
        self.greet()
        ours, theirs = map(Channel, socket.socketpair())
        pid = os.fork()
        if pid == 0:
            in_child(lambda: theirs.send(**self.fetch()))
        theirs.close()
        try:
            with closing(ours):
                answer = ours.receive() or {"error": "the process that fetches the model ended without a word"}
        except Stopped:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            os.waitpid(pid, 0)
        if "error" in answer:
            raise ProcessFailed(answer["error"])
        return source_from_json(answer)

    def fetch(self) -> dict[str, Any]:
        try:
            return source_as_json(resolve(self.settings, self.note, self.folder))
        except SourceError as error:
            return {"error": str(error)}
        except Exception as error:
            return {"error": f"the model cannot be fetched: {one_line(error)}"}

    def environment(self, source: Source) -> Path:
        made = recipe(read_mlmodel(source.path), self.settings)
        if not is_complete(self.cache / made.key) and not self.servers:
            self.greet()
        folder = environment(made, self.cache, self.note)
        log.info("the model's environment is %s", folder)
        return folder

    # -- servers ------------------------------------------------------------------------------------------------

    def start(self, folder: Path, source: Source, takes_over: bool = False) -> EnvironmentServer:
        ours, theirs = socket.socketpair()
        sockets = [one.fileno() for one in (self.ports.http, self.ports.grpc) if one is not None]
        given = {
            "source": source_as_json(source), "sockets": sockets, "door": theirs.fileno(),
            "folder": str(self.folder), "takes_over": takes_over,
        }  # fmt: skip
        environ = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        environ |= {VARIABLE: json.dumps(given), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self.folder / "site"), os.environ.get("PYTHONPATH"))))
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [str(folder / "bin" / "python"), "-P", "-m", self.module, *self.arguments],
                env=environ, pass_fds=[*sockets, theirs.fileno()], process_group=0,
            )  # fmt: skip
        server = EnvironmentServer(process, Channel(ours), folder, source)
        self.servers.append(server)
        if self.stopped:  # the signal came before it was in the list
            process.terminate()
        return server

    def replaced(self, server: EnvironmentServer, source: Source) -> EnvironmentServer:
        """The server that answers from now on: another one with this model, or the same if that cannot be."""
        try:
            with self.prepared():
                folder = self.environment(source)
        except Stopped:
            return server  # it has had the signal, too
        except PROBLEMS as error:
            log.error("%s stays: %s", server.source.resolved_uri, error)
            server.door.send(error=one_line(error) if isinstance(error, OSError) else str(error))
            return server
        if folder == server.environment:
            server.door.send(replaced=False)
            return server
        try:
            source = self.rescued(source)
            candidate = self.start(folder, source, takes_over=True)
        except OSError as error:  # such as a full disk
            server.door.send(error=one_line(error))
            return server
        reason = candidate.wait_ready()
        if reason is not None:
            self.forget(candidate)
            server.door.send(error=reason)
            return server
        log.info("%s takes over from %s", source.resolved_uri, server.source.resolved_uri)
        server.door.send(replaced=True)
        server.door.wait(FAREWELL)
        # Not SIGTERM, after which a pod that goes takes requests for a while: the other server has the ports now.
        server.process.send_signal(signal.SIGINT)
        server.leaving = True
        self.forget(server)
        return candidate

    def rescued(self, source: Source) -> Source:
        """What a server downloaded goes when it ends; its successor still needs it."""
        if not source.path.is_relative_to(self.folder):
            return source
        kept = Path(tempfile.mkdtemp(prefix="model-", dir=self.folder)) / source.path.name
        source.path.rename(kept)
        return replace(source, path=kept)

    def forget(self, server: EnvironmentServer) -> None:
        """Waits for a server that ends, and removes what was downloaded for it."""
        server.process.wait()
        server.door.close()
        self.servers.remove(server)
        if server.source.path.is_relative_to(self.folder):
            shutil.rmtree(server.source.path, ignore_errors=True)

    def offer_ourselves(self) -> None:
        """Environments hold no copy of this package: they find the one that runs, and only that, in this folder."""
        site = self.folder / "site"
        site.mkdir()
        (site / "predictors").symlink_to(Path(predictors.__path__[0]).resolve())
        installed = metadata.distribution(OURS)
        about = site / f"{OURS.replace('-', '_')}-{installed.version}.dist-info"
        about.mkdir()
        for name in ("METADATA", "entry_points.txt"):
            (about / name).write_text(installed.read_text(name) or "")

    # -- until there is a server --------------------------------------------------------------------------------

    @contextmanager
    def greeter(self) -> Iterator[None]:
        """Ends whoever was started to answer probes."""
        try:
            yield
        finally:
            if self.greeting is not None:
                pid, told = self.greeting
                told.close()
                os.waitpid(pid, 0)
                self.greeting = None

    def greet(self) -> None:
        """Starts a process that answers that the server is alive, and how far it is."""
        if self.greeting is not None:
            return
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            in_child(lambda: greet(self.settings, self.ports, theirs))
        theirs.close()
        self.greeting = (pid, ours)


def greet(settings: Settings, ports: Ports, told: socket.socket) -> None:
    from predictors.processes.shared_state import SharedState
    from predictors.processes.workers import GREETER
    from predictors.serving.process import Serving

    shared = SharedState(1)

    def listen() -> None:
        for line in told.makefile("r", encoding="utf-8"):
            shared.startup.status = line.rstrip()
        os.kill(os.getpid(), signal.SIGTERM)

    with closing(shared):
        threading.Thread(target=listen, daemon=True).start()
        Serving(replace(settings, env_manager="local", workers=1)).work(ports, shared, GREETER)


def in_child(work: Callable[[], object]) -> NoReturn:
    """The rest of a forked process."""
    try:
        end_with_parent()
        os.setpgid(0, 0)  # the launcher alone hears the keyboard
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        work()
    except BaseException:
        log.exception("a process of the launcher failed")
    finally:
        logging.shutdown()
        os._exit(0)


def status(code: int) -> int:
    """Ended by a signal, as shells say it."""
    return 128 - code if code < 0 else code


def launch(settings: Settings, module: str, arguments: Sequence[str]) -> int:
    """Serves the settings' model in an environment of its own; the exit status of the process."""
    try:
        ports = bound_ports(settings)
    except StartError as error:
        log.error("%s", error)
        return 1
    with closing(ports), tempfile.TemporaryDirectory(prefix="mlflow-kserve-", ignore_cleanup_errors=True) as folder:
        return Launcher(settings, module, arguments, ports, Path(folder)).run()
