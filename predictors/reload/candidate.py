"""The candidate beside the served model: found, loaded, followed and promoted by the worker that leads."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from predictors.candidate.pairing import Pairing
from predictors.candidate.settings import DEFAULT_SHARE
from predictors.candidate.spec import CandidateSpec, WantedCandidate, spec_of_settings
from predictors.flavor import read_mlmodel
from predictors.processes.commands import PROMOTE, REMOVE_CANDIDATE
from predictors.reload.checks import MAX_CHANGES, check_dependencies, check_place, check_signature
from predictors.reload.compatible import incompatibilities
from predictors.reload.failures import ONE_LINE_ERRORS, ReloadRefused, in_short
from predictors.settings.values import share
from predictors.signature.plan import read_plan
from predictors.storage.failures import ModelNotFound, StorageError, as_storage_error, classified
from predictors.storage.registry import resolve_version, version_tags
from predictors.storage.source import Source, local, remote, served_version
from predictors.telemetry.exchange import SHADOW
from predictors.uris import ModelURI

if TYPE_CHECKING:
    from predictors.reload.leader import Leader

log = logging.getLogger("predictors")

SHARE_TAG = "candidate_share"
"""The tag of a registered version that says which share of the requests it gets as a candidate."""
MAX_RETRY_PAUSE = 3600.0  # seconds until a candidate that could not be loaded is tried again


@dataclass(frozen=True, slots=True)
class ResolvedCandidate:
    """What the URI of a candidate names now."""

    location: str
    identity: str
    share: float
    fetch: Callable[[], Source]


class CandidateLeader:
    """Part of the leader: one change after the other, and none of them touches the model itself but `promote`."""

    def __init__(self, leader: Leader) -> None:
        self.leader = leader
        self.shared = leader.shared
        self.state = leader.shared.candidate
        self.wanted = WantedCandidate(leader.shared.folder)
        self.due = 0.0
        """When the registry is to be asked about the candidate."""

    def recover(self, ended: Exception) -> None:
        """Takes over from a leader that has ended, maybe over the candidate."""
        self.wanted.begin(spec_of_settings(self.leader.pipeline.settings))
        if self.state.trying:
            self.postpone(self.state.trying, ended)

    @property
    def pairing(self) -> Pairing | None:
        return self.leader.pairings.get(int(self.shared.numbers.served))

    @property
    def source(self) -> Source | None:
        """Of the candidate that stands beside the model."""
        pairing = self.pairing
        return None if pairing is None else self.shared.sources.get(pairing.candidate)

    def is_held(self, location: str) -> bool:
        source = self.source
        return source is not None and source.resolved_uri == location

    # -- commands -----------------------------------------------------------------------------------------------

    async def execute(self, command: str) -> str:
        """Carries out a command about the candidate; the version that it is about."""
        try:
            if command == PROMOTE:
                return await self.promote()
            if command == REMOVE_CANDIDATE:
                return self.remove()
            return await self.put(CandidateSpec(**json.loads(command.partition(" ")[2])))
        except (StorageError, OSError, *ONE_LINE_ERRORS) as error:
            raise ReloadRefused(in_short(error)) from error

    async def put(self, spec: CandidateSpec) -> str:
        """Puts a candidate beside the model, in place of another one. If that fails, nothing changes."""
        if not self.shared.numbers.served:
            raise ReloadRefused("no model is served")
        check_place(spec.uri, self.leader.source)
        resolved = await self.leader.reloader.background.run(lambda: self.resolve(spec))
        if resolved.location == self.leader.source.resolved_uri:
            raise ReloadRefused("it is the version that is served")
        await self.pair(spec, resolved)
        self.wanted.set(spec)
        self.state.left = ""
        self.settled()
        self.due = self.leader.now + self.pause(spec)
        return resolved.identity

    def remove(self) -> str:
        self.wanted.set(None)
        self.settled()
        self.state.left = ""
        if self.pairing is not None:
            self.end("the candidate was removed")
        return self.leader.status.version

    async def promote(self) -> str:
        """The candidate becomes the model; the one before it can be reverted to."""
        leader, pairing, spec = self.leader, self.pairing, self.wanted.get()
        if pairing is None:
            raise ReloadRefused("there is no candidate to promote")
        left, source = leader.source, self.shared.sources.get(pairing.candidate)
        if all(worker.vote == self.shared.numbers.served for worker in self.shared.worker_states):
            leader.activate(pairing.candidate)
        else:  # a worker that was replaced meanwhile may not have it
            await leader.replace_model(lambda: source)
        if spec is not None and not ModelURI.parse(spec.uri).is_moving:
            self.wanted.set(None)
        version = leader.named or left.version or ""
        self.shared.reload.left = "" if version == source.version else version
        leader.status.succeeded("promoted", f"promoted the candidate: serving version {leader.status.version}")
        return leader.status.version

    def leave(self) -> None:
        """Before a revert: what is left is no candidate either, until its URI has named another version."""
        source = self.source or self.leader.source
        self.state.left = source.version or source.resolved_uri
        self.state.status = f"version {self.state.left} was left by a revert"

    # -- the registry -------------------------------------------------------------------------------------------

    def pause(self, spec: CandidateSpec) -> float:
        """Seconds until the registry is asked again; never if nothing can change there, or nobody wants to know."""
        tagged = spec.share is None and ModelURI.parse(spec.uri).name is not None
        done = self.pairing is not None and not tagged and not ModelURI.parse(spec.uri).is_moving
        return inf if done or not self.leader.settings.reload_interval else self.leader.poll_pause()

    async def follow(self, *, retry_now: bool) -> None:
        """Keeps beside the model what the candidate's URI names now, with the share that its tag names."""
        spec = self.wanted.get()
        try:
            if spec is not None and self.shared.numbers.served:
                await self.follow_wanted(spec, retry_now=retry_now)
        finally:
            self.due = inf if spec is None else self.leader.now + self.pause(spec)

    async def follow_wanted(self, spec: CandidateSpec, *, retry_now: bool) -> None:
        state = self.state
        try:
            resolved = await self.leader.ask_registry(lambda: self.resolve(spec))
        except Exception as error:
            self.unresolved(spec, error)
            return
        if state.left == resolved.identity:
            return
        state.left = ""
        if resolved.location == self.leader.source.resolved_uri:
            self.end(f"{spec.uri} names the version that is served")
            return
        if state.failed == resolved.identity and time.monotonic() < state.retry_at and not retry_now:
            return
        state.trying = resolved.identity
        try:
            await self.pair(spec, resolved)
        except Exception as error:
            self.postpone(resolved.identity, error)
        else:
            self.settled()
        finally:
            state.trying = ""

    def resolve(self, spec: CandidateSpec) -> ResolvedCandidate:
        settings, uri = self.leader.settings, spec.uri
        folder = ModelURI.parse(uri).local_folder
        if folder is not None:
            source = self.versioned(local(folder, uri))
            wanted = DEFAULT_SHARE if spec.share is None else spec.share
            return ResolvedCandidate(source.resolved_uri, source.version or uri, wanted, lambda: source)
        location, version = classified(lambda: resolve_version(settings, uri), uri)
        wanted = self.tagged_share(location) if spec.share is None else spec.share

        def fetch() -> Source:
            return self.versioned(remote(settings, uri, log.info, self.shared.folder, location, version))

        return ResolvedCandidate(location, version or location, wanted, fetch)

    def versioned(self, source: Source) -> Source:
        """With a version of its own in any case: `--model-version` is about the model."""
        settings = replace(self.leader.settings, model_version=None)
        return replace(source, version=served_version(settings, source, read_mlmodel(source.path)))

    def tagged_share(self, location: str) -> float:
        text = classified(lambda: version_tags(self.leader.settings, location), location).get(SHARE_TAG)
        if text is None:
            return DEFAULT_SHARE
        try:
            return share(text)
        except ValueError as error:
            raise ReloadRefused(f"the tag {SHARE_TAG} of {location} is {text[:40]!r}: {error}") from None

    def unresolved(self, spec: CandidateSpec, error: Exception) -> None:
        """An alias that is not there ends the candidate; a registry that fails does not."""
        if isinstance(as_storage_error(error, spec.uri), ModelNotFound):
            self.end(f"{spec.uri} names no version")
            return
        status = f"{spec.uri} cannot be resolved: {in_short(error)}"
        if status != self.state.status:
            log.warning("candidate: %s", status)
        self.state.status = status

    # -- beside the model ---------------------------------------------------------------------------------------

    async def pair(self, spec: CandidateSpec, resolved: ResolvedCandidate) -> None:
        """Has all workers hold the candidate, and switches to the pairing; raises why it cannot stand there."""
        leader, numbers, current = self.leader, self.shared.numbers, self.pairing
        served, unloads = leader.reloader.served, numbers.unloads
        if spec.mode == SHADOW and served is not None and served.model.customized:
            raise ReloadRefused("a model with hooks of its own has no shadow, only a split")
        source = self.source
        if current is not None and source is not None and source.resolved_uri == resolved.location:
            pairing = replace(current, mode=spec.mode, share=resolved.share, key=spec.key)
            if pairing == current:
                return
            trial = None
        else:
            trial = await leader.reloader.background.run(resolved.fetch)
            pairing = Pairing(
                leader.pairings.model_of(int(numbers.served)), leader.add_source(trial), spec.mode, resolved.share,
                spec.key,
            )  # fmt: skip
        try:
            if trial is not None:
                await leader.reloader.background.run(lambda: self.check(trial))
            number = leader.add_pairing(pairing)
            await leader.propose(number, trial)
            if numbers.unloads > unloads:
                raise ReloadRefused("the model was unloaded meanwhile")
        except BaseException:
            leader.withdraw()
            raise
        leader.activate(number)
        log.info(
            "candidate: %s is beside the model (%s, %g %%)", resolved.location, pairing.mode, 100 * pairing.share
        )  # fmt: skip

    def check(self, source: Source) -> None:
        served = self.leader.reloader.served
        if served is None:
            raise ReloadRefused("no model is served")
        check_signature(served, source)
        check_dependencies(served, source)
        if source.version == served.loaded.version:
            raise ReloadRefused(
                f"its version is '{source.version}', and so is that of the served model: nobody could tell them apart"
            )

    def beside(self, number: int, source: Source) -> int:
        """The number under which another model is served: with the candidate beside it, if it still fits."""
        pairing, candidate = self.pairing, self.source
        if pairing is None or candidate is None or self.state.left in (candidate.version, candidate.resolved_uri):
            return number
        if candidate.resolved_uri == source.resolved_uri:
            return number
        if candidate.version == served_version(self.leader.settings, source, read_mlmodel(source.path)):
            log.warning("candidate: it ends, since the next version is called %s as well", candidate.version)
            return number
        changes = incompatibilities(read_plan(read_mlmodel(source.path)), read_plan(read_mlmodel(candidate.path)))
        if changes and not self.leader.settings.allow_signature_change:
            log.warning(
                "candidate: it ends, since it does not fit the next version: %s", "; ".join(changes[:MAX_CHANGES])
            )
            return number
        return self.leader.add_pairing(replace(pairing, model=number))

    def end(self, why: str) -> None:
        """The model answers alone."""
        pairing = self.pairing
        if why != self.state.status:
            log.info("candidate: %s", why)
        self.state.status = why
        if pairing is not None:
            self.leader.activate(pairing.model)

    # -- what became of it --------------------------------------------------------------------------------------

    def settled(self) -> None:
        self.state.failed = self.state.status = ""
        self.state.failing = False

    def postpone(self, identity: str, error: Exception) -> None:
        """Tries it again later, and later each time."""
        state = self.state
        tries = int(state.tries) if identity == state.failed else 0
        pause = min(self.leader.settings.reload_interval * 2.0**tries, MAX_RETRY_PAUSE)
        state.failed, state.tries, state.retry_at = identity, tries + 1, time.monotonic() + pause
        state.trying, state.failing = "", True
        state.status = f"version {identity} cannot be the candidate: {in_short(error)}"
        log.error("candidate: %s", state.status)
