"""The worker that leads: it looks at the registry, fulfils commands, and proposes what all workers load next."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from predictors.processes.handover import launched
from predictors.reload.reloader import TICK, Reloader, ReloadRefused, in_short
from predictors.settings.predictor import Settings
from predictors.storage.registry import pinned
from predictors.storage.source import Source, is_moving, remote, resolve
from predictors.telemetry.metrics import metrics

log = logging.getLogger("predictors")
T = TypeVar("T")

MAX_PAUSE = 600.0  # seconds until the next look at a registry that fails
MAX_RETRY = 3600.0  # seconds until a version that could not be served is tried again
ALL_AGREE = 1.0  # seconds for the workers to notice a change of theirs


class WentBack(ReloadRefused):
    """What was being loaded is not wanted any more."""


class Leader:
    def __init__(self, reloader: Reloader, settings: Settings) -> None:
        self.reloader = reloader
        self.pipeline = reloader.pipeline
        self.shared = reloader.shared
        self.settings = settings
        self.watches = settings.reload_interval > 0 and is_moving(settings)
        self.replaced = False
        """Whether another server has taken over, in another environment."""
        self.unheard = 0
        """How often in a row the registry has failed."""
        self.elsewhere = False
        """Whether the launcher is at work, whom nobody can stop."""
        self.named: str | None = None
        """The version that the URI named when last looked at."""
        self.failing = False
        self.failed: tuple[str, int, float] | None = None
        """A version that cannot be served, how often it was tried, and when it may be tried again."""

    async def run(self) -> None:
        """Until it is cancelled."""
        self.succeed()
        if self.watches:
            log.info("watching %s every %g s", self.settings.model_uri, self.settings.reload_interval)
        due = self.now + self.pause()
        while True:
            try:
                command = self.shared.next_command()
                if command is not None:
                    await self.fulfil(command)
                if command == "look" or (self.watches and self.now >= due):
                    await self.unless_reverted(self.poll_registry(at_once=command == "look"))
                    due = self.now + self.pause()
            except WentBack as error:
                log.info("what was being loaded is given up: %s", error)
            except Exception:  # such as a full disk: whoever asks next is still to be heard
                log.exception("leading the other workers failed")
            given = launched()
            if self.replaced and given is not None:
                return given.leave()
            await asyncio.sleep(TICK)

    def succeed(self) -> None:
        """Takes over from a leader that is no more; what ended it is not tried again at once."""
        shared = self.shared
        shared.candidate = 0
        shared.tidy()
        ended = ReloadRefused("the worker that led ended while it was loaded")
        if shared.begun > shared.done:
            shared.answer({"failed": str(ended)})
            self.say_failed("what was asked for", ended)
        if shared.trying:
            self.put_off(shared.trying, ended)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def pause(self) -> float:
        """Until the next look; no two pods should keep step, and none should press a registry that is down."""
        pause = min(self.settings.reload_interval * 2.0**self.unheard, max(MAX_PAUSE, self.settings.reload_interval))
        return pause * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret

    # -- what is asked for --------------------------------------------------------------------------------------

    async def fulfil(self, command: str) -> None:
        """Answers whoever asked, whatever comes of it."""
        answer: dict[str, Any] = {}
        self.shared.begun = self.shared.done + 1
        try:
            if command == "load":
                answer["version"] = await self.unless_reverted(self.load())
            elif command == "revert":
                answer["version"] = await self.revert()
        except ReloadRefused as error:
            answer = {"refused": str(error)}
        except Exception as error:
            answer = {"failed": in_short(error)}
        self.shared.answer(answer)

    async def unless_reverted(self, work: Coroutine[None, None, T]) -> T:
        """Somebody who wants the version before does not wait for the next one, and does not want that either."""
        begun = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({begun}, timeout=TICK))[0]:
                if "revert" in self.shared.commands() and not self.elsewhere:
                    raise WentBack("somebody went back to the version before meanwhile")
            return begun.result()
        finally:
            begun.cancel()
            await asyncio.wait({begun})

    async def load(self) -> str:
        """Whatever the settings name now, loaded anew; the version of it."""
        try:
            version = await self.renew(self.find)
        except Exception as error:
            self.say_failed("what was asked for", error)
            raise
        self.shared.left = ""
        return version

    def find(self) -> Source:
        """What the settings name; what is here already and cannot have changed is not downloaded again."""
        if self.settings.model_uri is None and self.settings.model_local_path is None:
            return self.source
        return resolve(self.settings, log.info, self.shared.folder, have=self.source)

    @property
    def source(self) -> Source:
        """Of the edition that answers, or last did."""
        return self.shared.source(self.shared.edition or self.shared.previous)

    async def revert(self) -> str:
        """Back to the version before; the one that is left is not taken again until the URI names another one."""
        before = self.shared.previous
        if not before or not self.shared.edition:
            raise ReloadRefused("there is no version to go back to")
        left, source = self.source, self.shared.source(before)
        end = self.now + ALL_AGREE
        while not all(held == before for held in self.shared.holds) and self.now < end:
            await asyncio.sleep(TICK)
        if all(held == before for held in self.shared.holds):
            self.activate(before)
        else:  # a worker that was replaced meanwhile does not have it
            await self.renew(lambda: source)
        self.shared.left = self.named or left.version or ""
        stays = f"; version {self.shared.left} is taken again once the URI has named another" if self.watches else ""
        self.say_done("reverted", f"went back to version {self.version}{stays}")
        return self.version

    # -- the registry -------------------------------------------------------------------------------------------

    async def poll_registry(self, *, at_once: bool) -> None:
        """Whether the URI names another version now; then that is served, if it can be."""
        settings, uri = self.settings, self.settings.model_uri or ""
        try:
            where, version = await self.reloader.in_thread(lambda: pinned(settings, uri))
        except Exception as error:
            self.unheard += 1
            metrics().reloads.labels(self.pipeline.name, "registry_error").inc()
            self.shared.reload_status = f"{uri} cannot be resolved: {in_short(error)}"
            log.warning("%s; version %s keeps serving", self.shared.reload_status, self.version)
            return
        if self.unheard:
            log.info("the registry answers again")
            self.unheard, self.shared.reload_status = 0, ""
        self.named = version
        if self.shared.left and version != self.shared.left:
            self.shared.left = self.shared.reload_status = ""
        if version is None or self.shared.edition == 0 or version in (self.source.version, self.shared.left):
            if self.failing and version == self.source.version:
                self.say_recovered()
            return
        tried, due = (self.failed[1], self.failed[2]) if self.failed and self.failed[0] == version else (0, 0.0)
        if self.now < due and not at_once:
            return
        log.info("%s is version %s now", uri, version)
        self.shared.trying, self.shared.tries = version, tried
        try:
            await self.renew(lambda: remote(settings, uri, log.info, self.shared.folder, found=(where, version)))
        except Exception as error:
            self.put_off(version, error)
        finally:
            self.shared.trying = ""

    def put_off(self, version: str, error: Exception) -> None:
        """Until later, and later each time."""
        tried = self.shared.tries
        wait = min(self.settings.reload_interval * 2.0**tried, MAX_RETRY)
        self.failed = (version, tried + 1, self.now + wait)
        self.shared.trying = ""
        self.say_failed(f"version {version}", error)

    # -- editions -----------------------------------------------------------------------------------------------

    async def renew(self, find: Callable[[], Source]) -> str:
        """Another edition in the place of the one that answers, or none and the reason why; the version of it."""
        shared = self.shared
        unloads = shared.unloads
        source = await self.reloader.in_thread(find)
        shared.newest += 1
        number = shared.newest
        try:
            shared.keep(number, source)
            self.elsewhere = launched() is not None
            if await self.reloader.in_thread(lambda: self.belongs_elsewhere(source)):
                return self.say_left(source)
            self.elsewhere = False
            ends = list(shared.ends)
            await self.reloader.prepare(number, source)  # first here: what fails need not fail in all of them
            shared.candidate = number
            await self.agreement(number, ends)
            if shared.unloads > unloads:
                raise ReloadRefused("the model was unloaded meanwhile")
        except BaseException:
            self.elsewhere = False
            self.withdraw(number)
            raise
        self.activate(number)
        shared.candidate = 0
        shared.forget_others()
        self.say_done("loaded", f"serving version {self.version}")
        return self.version

    def belongs_elsewhere(self, source: Source) -> bool:
        """Whether the launcher has started another server for it, in the environment that it needs."""
        self.reloader.check_signature(source)
        given = launched()
        if given is not None:
            return given.replace(source)
        self.reloader.check_dependencies(source)
        return False

    async def agreement(self, number: int, ends: list[int]) -> None:
        """Until all workers have it; one that fails, or that ends (the model may be why), is against it."""
        shared = self.shared
        while not all(vote == number for vote in shared.votes):
            for worker, vote in enumerate(shared.votes):
                if vote == -number:
                    reason = shared.folder / f"reason-{worker}"
                    raise ReloadRefused(f"worker {worker} cannot load it: {reason.read_text()}")
                if shared.ends[worker] > ends[worker]:
                    raise ReloadRefused(f"worker {worker} ended while it was loaded")
            await asyncio.sleep(TICK)

    def activate(self, number: int) -> None:
        """The one moment in which all workers change over."""
        if self.shared.edition:
            self.shared.previous = self.shared.edition
        self.shared.edition = number

    def withdraw(self, number: int) -> None:
        self.shared.candidate = 0
        self.pipeline.served_models.drop(number)
        self.shared.forget(number)

    # -- what is said of it -------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        served = self.pipeline.served_models.current()
        return served.loaded.version if served else "none"

    def say_left(self, source: Source) -> str:
        self.replaced = True
        version = source.version or source.resolved_uri
        self.say_done("loaded", f"another server, in its own environment, serves version {version}")
        return version

    def say_done(self, outcome: str, text: str) -> None:
        metrics().reloads.labels(self.pipeline.name, outcome).inc()
        self.say_recovered()
        self.shared.reload_status = text
        log.info(text)

    def say_recovered(self) -> None:
        self.failed, self.failing = None, False
        self.shared.reload_status = ""
        metrics().reload_failing.labels(self.pipeline.name).set(0)

    def say_failed(self, what: str, error: Exception) -> None:
        metrics().reloads.labels(self.pipeline.name, "failed").inc()
        metrics().reload_failing.labels(self.pipeline.name).set(1)
        self.failing = True
        self.shared.reload_status = f"{what} cannot be served: {in_short(error)}"
        log.error("%s; version %s keeps serving", self.shared.reload_status, self.version)
