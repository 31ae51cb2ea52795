"""The worker that leads: it polls the registry, carries out commands, and proposes what all workers load next."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from predictors.candidate.pairing import Pairing, Pairings
from predictors.model.settings import ModelSettings
from predictors.processes.commands import REMOVE_CANDIDATE
from predictors.processes.handover import receive_handover
from predictors.reload.candidate import CandidateLeader
from predictors.reload.checks import check_dependencies, check_signature
from predictors.reload.failures import ReloadRefused, in_short
from predictors.reload.reloader import CHECK_INTERVAL, Reloader
from predictors.reload.status import ReloadStatus
from predictors.storage.failures import SourceError
from predictors.storage.registry import resolve_version
from predictors.storage.source import Source, is_moving, remote, resolve

log = logging.getLogger("predictors")
T = TypeVar("T")

MAX_RETRY_PAUSE = 3600.0  # seconds until a version that could not be served is tried again
POLL_TIMEOUT = 10.0  # seconds for an answer of the registry; half of the interval if that is longer
SWITCH_SECONDS = 1.0  # for the workers to notice that another model is served


SUPERSEDED_BY = {"revert": "model was reverted", REMOVE_CANDIDATE: "candidate was removed"}


class Superseded(ReloadRefused):
    """Somebody has reverted while another version was being loaded, which is not wanted any more."""


class Leader:
    """In one worker: everything that changes what is served, one after the other."""

    def __init__(self, reloader: Reloader, settings: ModelSettings) -> None:
        self.reloader = reloader
        self.pipeline = reloader.pipeline
        self.shared = reloader.shared
        self.settings = settings
        self.status = ReloadStatus(self.pipeline)
        self.moves = is_moving(settings)
        self.polls = settings.reload_interval > 0 and self.moves
        self.replaced = False
        """Whether another server has taken over, in another environment."""
        self.launcher_busy = False
        """Whether the launcher is at work, which nobody can stop."""
        self.named: str | None = None
        """The version that the URI named at the last poll."""
        self.replacing = False
        """Whether another model is being loaded."""
        self.superseded = False
        """Whether a version was given up for a revert that has not been carried out yet."""
        self.candidate = CandidateLeader(self)

    async def run(self) -> None:
        """Until it is cancelled, or another server has taken over."""
        self.recover()
        if self.polls:
            log.info("watching %s every %g s", self.settings.model_uri, self.settings.reload_interval)
        due = self.now + self.poll_pause()
        while True:
            try:
                command = self.shared.commands.next()
                if command is not None:
                    await self.execute(command)
                if (command == "poll" and self.moves) or (self.polls and self.now >= due):
                    await self.unless(self.poll_registry(retry_now=command == "poll"), "revert")
                    due = self.now + self.poll_pause()
                if command in ("poll", "load") or self.now >= self.candidate.due:
                    await self.unless(self.candidate.follow(retry_now=command == "poll"), "revert", REMOVE_CANDIDATE)
            except Superseded as error:
                log.info("the reload is given up: %s", error)
            except Exception:  # such as a full disk: the next command is still to be carried out
                log.exception("leading the other workers failed")
            handover = receive_handover()
            if self.replaced and handover is not None:
                return handover.allow_stop()
            await asyncio.sleep(CHECK_INTERVAL)

    def recover(self) -> None:
        """Takes over from a leader that has ended. What failed for it, or has ended it, is not tried again at once."""
        shared = self.shared
        shared.numbers.proposed = 0
        self.drop_old_sources()
        shared.sources.drop_unfinished_downloads()
        self.status.resume()
        ended = ReloadRefused("the worker that led ended while it was loaded")
        if shared.commands.interrupted:
            shared.commands.finish({"failed": str(ended)})
            self.status.failed("the requested version", ended)
        if shared.reload.trying:
            self.postpone(shared.reload.trying, ended)
        self.candidate.recover(ended)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def source(self) -> Source:
        """Of the model that answers, or answered before it was unloaded."""
        numbers = self.shared.numbers
        return self.shared.sources.get(self.pairings.model_of(int(numbers.served or numbers.previous)))

    @property
    def pairings(self) -> Pairings:
        return self.pipeline.served_models.pairings

    # -- commands -----------------------------------------------------------------------------------------------

    async def execute(self, command: str) -> None:
        """Carries out a command and sends its result, also if it fails."""
        result: dict[str, Any] = {}
        self.shared.commands.begin()
        try:
            if command == "load":
                result["version"] = await self.unless(self.load(), "revert")
            elif command == "revert":
                result["version"] = await self.revert()
            else:
                meanwhile = {"revert", REMOVE_CANDIDATE} - {command}
                result["version"] = await self.unless(self.candidate.execute(command), *meanwhile)
        except ReloadRefused as error:
            result = {"refused": str(error)}
        except Exception as error:
            result = {"failed": in_short(error)}
        self.shared.commands.finish(result)

    async def unless(self, work: Coroutine[None, None, T], *commands: str) -> T:
        """Gives the work up when one of these commands comes: who sends it does not wait for the work, nor wants it."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=CHECK_INTERVAL))[0]:
                come = [one for one in self.shared.commands.pending() if one in commands]
                if come and not self.launcher_busy:
                    self.superseded = self.replacing
                    raise Superseded(f"the {SUPERSEDED_BY[come[0]]} meanwhile")
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def load(self) -> str:
        """Loads what the settings name now; its version."""
        try:
            version = await self.replace_model(self.resolve_settings)
        except Exception as error:
            self.status.failed("the requested version", error)
            raise
        self.shared.reload.left = ""
        return version

    def resolve_settings(self) -> Source:
        """The source that the settings name; one that is here and cannot have changed is not downloaded again."""
        if self.settings.model_uri is None and self.settings.model_local_path is None:
            return self.source
        source = resolve(self.settings, log.info, self.shared.folder, current=self.source)
        self.named = source.version
        return source

    async def revert(self) -> str:
        """Back to the previous version; the one that is left is not loaded again until the URI has named another.

        Without a previous version it can still give up one that was being loaded.
        """
        numbers = self.shared.numbers
        previous = int(numbers.previous)
        if previous:
            self.candidate.leave()
        superseded, self.superseded = self.superseded, False
        if not numbers.served or not (previous or superseded):
            raise ReloadRefused("there is no version to go back to")
        if not previous:
            return self.reverted(self.named or "")
        left, source = self.source, self.shared.sources.get(previous)
        if await self.all_hold(previous):
            self.activate(previous)
        else:  # a worker that was replaced meanwhile does not have it
            await self.replace_model(lambda: source)
        return self.reverted(self.named or left.version or "")

    def reverted(self, left: str) -> str:
        """Remembers which version was left; the version that is served."""
        self.shared.reload.left = left
        condition = f"; version {left} is loaded again once the URI has named another" if self.polls and left else ""
        self.status.succeeded("reverted", f"reverted to version {self.status.version}{condition}")
        return self.status.version

    async def all_hold(self, previous: int) -> bool:
        """Whether all workers hold the previous model; those that have just switched are given time to say so."""
        deadline = self.now + SWITCH_SECONDS
        while not (held := all(worker.previous == previous for worker in self.shared.worker_states)):
            if self.now >= deadline:
                break
            await asyncio.sleep(CHECK_INTERVAL)
        return held

    # -- the registry -------------------------------------------------------------------------------------------

    def poll_pause(self) -> float:
        """Seconds to the next poll, with jitter so that pods do not poll in step.

        It is not longer while the registry fails: what the registry names once it is back is not to wait for long.
        """
        return self.settings.reload_interval * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret

    async def poll_registry(self, *, retry_now: bool) -> None:
        """Serves the version that the URI names now, if it is another one and can be served."""
        resolved = await self.resolve_uri()
        if resolved is None:
            return
        location, version = resolved
        self.named = version
        reload = self.shared.reload
        if reload.left and version != reload.left:
            reload.left = reload.status = ""
        if version is None or self.shared.numbers.served == 0 or version in (self.source.version, reload.left):
            if reload.failing and version == self.source.version:
                self.status.recovered()
            return
        if version == reload.failed and time.monotonic() < reload.retry_at and not retry_now:
            return
        await self.try_version(location, version)

    async def resolve_uri(self) -> tuple[str, str | None] | None:
        """Where the model lies and its version; None if the registry fails."""
        settings, uri = self.settings, self.settings.model_uri or ""
        try:
            resolved = await self.ask_registry(lambda: resolve_version(settings, uri))
        except Exception as error:
            self.status.registry_failed(uri, error)
            return None
        self.status.registry_answered()
        return resolved

    async def ask_registry(self, work: Callable[[], T]) -> T:
        """Waits for the answer no longer than it makes sense to wait, though the client may do so."""
        limit = asyncio.timeout(max(POLL_TIMEOUT, self.settings.reload_interval / 2))
        try:
            async with limit:
                return await self.reloader.background.run(work)
        except TimeoutError:
            if not limit.expired():
                raise
            raise SourceError("the registry does not answer") from None

    async def try_version(self, location: str, version: str) -> None:
        settings, uri, reload = self.settings, self.settings.model_uri or "", self.shared.reload
        log.info("%s moved from version %s to %s", uri, self.source.version, version)
        if self.candidate.is_held(location):
            await self.candidate.promote()
            reload.left = ""
            return
        reload.trying = version
        try:
            await self.replace_model(lambda: remote(settings, uri, log.info, self.shared.folder, location, version))
        except Exception as error:
            self.postpone(version, error)
        finally:
            reload.trying = ""

    def postpone(self, version: str, error: Exception) -> None:
        """Tries the version again later, and later each time."""
        reload = self.shared.reload
        tries = int(reload.tries) if version == reload.failed else 0
        pause = min(self.settings.reload_interval * 2.0**tries, MAX_RETRY_PAUSE)
        reload.failed, reload.tries, reload.retry_at = version, tries + 1, time.monotonic() + pause
        reload.trying = ""
        self.status.failed(f"version {version}", error)

    # -- replacing the served model -----------------------------------------------------------------------------

    async def replace_model(self, resolve: Callable[[], Source]) -> str:
        """Serves another model in place of the one that answers, or raises why not; the version that is served then."""
        self.replacing = True
        try:
            return await self.load_and_switch(resolve)
        finally:
            self.replacing = False

    async def load_and_switch(self, resolve: Callable[[], Source]) -> str:
        numbers = self.shared.numbers
        unloads = numbers.unloads
        source = await self.reloader.background.run(resolve)
        number = self.add_source(source)
        try:
            if await self.move_to_other_environment(source):
                return self.leave(source)
            number = self.candidate.beside(number, source)
            await self.propose(number, source)
            if numbers.unloads > unloads:
                raise ReloadRefused("the model was unloaded meanwhile")
        except BaseException:
            self.withdraw()
            raise
        self.activate(number)
        self.status.succeeded("loaded", f"serving version {self.status.version}")
        return self.status.version

    def add_source(self, source: Source) -> int:
        """The number of another model."""
        numbers = self.shared.numbers
        numbers.newest += 1
        self.shared.sources.add(int(numbers.newest), source)
        return int(numbers.newest)

    def add_pairing(self, pairing: Pairing) -> int:
        numbers = self.shared.numbers
        numbers.newest += 1
        self.pairings.add(int(numbers.newest), pairing)
        return int(numbers.newest)

    async def move_to_other_environment(self, source: Source) -> bool:
        """Checks what can be known before loading; True if the launcher has another server serve the model."""
        self.launcher_busy = receive_handover() is not None
        try:
            self.replaced = await self.reloader.background.run(lambda: self.check_source(source))
        finally:
            self.launcher_busy = self.replaced
        return self.replaced

    def check_source(self, source: Source) -> bool:
        """Raises why the model does not fit; with a launcher, whether another server has taken over."""
        served, handover = self.reloader.served, receive_handover()
        if served is not None:
            check_signature(served, source)
        if handover is not None:
            return handover.replace(source)
        if served is not None:
            check_dependencies(served, source)
        return False

    async def propose(self, number: int, source: Source | None) -> None:
        """Has all workers load the source, under this number or that of a pairing; raises if one of them cannot."""
        ends = [int(worker.ends) for worker in self.shared.worker_states]
        if source is not None:
            await self.reloader.try_out(source)
        await self.reloader.prepare(number)  # here first: a failure here need not happen in all of them
        self.shared.numbers.proposed = number
        await self.all_votes(number, ends)

    async def all_votes(self, number: int, ends: list[int]) -> None:
        """Until all workers vote for it. One that fails is against it, or one that ends: the model may be why."""
        workers = self.shared.worker_states
        while not all(worker.vote == number for worker in workers):
            for index, worker in enumerate(workers):
                if worker.vote == -number:
                    reason = self.reloader.reason_file(index).read_text()
                    raise ReloadRefused(f"worker {index} cannot load it: {reason}")
                if worker.ends > ends[index]:
                    raise ReloadRefused(f"worker {index} ended while it was loaded")
            await asyncio.sleep(CHECK_INTERVAL)

    def activate(self, number: int) -> None:
        """The moment at which all workers switch."""
        numbers = self.shared.numbers
        before = self.pairings.model_of(int(numbers.served))
        if before not in (0, self.pairings.model_of(number)):
            numbers.previous = before
        numbers.served = number
        numbers.proposed = 0
        self.drop_old_sources()

    def withdraw(self) -> None:
        """Gives up what was proposed."""
        self.shared.numbers.proposed = 0
        self.pipeline.served_models.drop_old()
        self.drop_old_sources()

    def drop_old_sources(self) -> None:
        numbers = self.shared.numbers
        self.shared.sources.drop_all_but((*self.pairings.members(int(numbers.served)), int(numbers.previous)))
        self.pairings.drop_all_but((int(numbers.served),))

    def leave(self, source: Source) -> str:
        version = source.version or source.resolved_uri
        self.status.succeeded("loaded", f"another server serves version {version} in its own environment")
        return version
