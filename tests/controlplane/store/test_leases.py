"""Leases: one acts, and a stale one is fenced off."""

from __future__ import annotations

import multiprocessing
import socket
from pathlib import Path

import pytest

from controlplane.domain.environments import EnvironmentConfig
from controlplane.store import environments, leases
from controlplane.store.database import Store
from controlplane.store.leases import LEASE_SECONDS, FencedOff, Lease, this_process

NAME = "loops"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(f"sqlite:///{tmp_path / 'a.db'}")
    made.migrate()
    return made


def acquired(store: Store, holder: str, now: float) -> Lease | None:
    with store.writing() as tx:
        return leases.acquire(tx, NAME, holder, now)


def test_one_holds_it_until_it_expires(store: Store) -> None:
    first = acquired(store, "a", 0)
    assert first == Lease(NAME, "a", 1)
    assert acquired(store, "b", LEASE_SECONDS - 1) is None
    assert acquired(store, "a", LEASE_SECONDS - 1) == first
    second = acquired(store, "b", 2 * LEASE_SECONDS)
    assert second == Lease(NAME, "b", 2)
    with store.reading() as tx, pytest.raises(FencedOff):
        leases.require(tx, first)
    with store.reading() as tx:
        leases.require(tx, second)


def test_a_holder_that_slept_has_a_new_token(store: Store) -> None:
    """It may have missed another holder's time."""
    first = acquired(store, "a", 0)
    again = acquired(store, "a", 2 * LEASE_SECONDS)
    assert first is not None
    assert again is not None
    assert again.token > first.token


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    first = acquired(store, "a", 0)
    assert first is not None
    with store.writing() as tx:
        leases.release(tx, first)
    assert acquired(store, "b", 1) == Lease(NAME, "b", 2)
    with store.writing() as tx:
        leases.release(tx, first)  # by one that has lost it: changes nothing
    assert acquired(store, "c", 2) is None


def test_a_process_of_this_machine_that_has_ended_holds_nothing(store: Store) -> None:
    assert acquired(store, f"{socket.gethostname()}/999999999/1.00", 0) is not None
    assert acquired(store, this_process(), 1) is not None
    assert acquired(store, f"elsewhere/{999999999}/1.00", 2) is None


def test_what_a_stale_one_notes_is_not_noted(store: Store) -> None:
    stale = acquired(store, "a", 0)
    acquired(store, "b", 2 * LEASE_SECONDS)
    assert stale is not None
    with pytest.raises(FencedOff), store.writing() as tx:
        environments.add(tx, 0.0, "late", EnvironmentConfig())
        leases.require(tx, stale)
    with store.reading() as tx:
        assert environments.everything(tx) == []


def swap(url: str, times: int) -> None:
    """Adds one to the generation of an environment, so often."""
    store = Store(url)
    for _ in range(times):
        with store.writing() as tx:
            environments.change(tx, 0.0, environments.get(tx, "local"), EnvironmentConfig())


def test_no_update_is_lost(store: Store) -> None:
    with store.writing() as tx:
        environments.add(tx, 0.0, "local", EnvironmentConfig())
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=swap, args=(str(store.engine.url), 50)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    with store.reading() as tx:
        assert environments.get(tx, "local").generation == 151
