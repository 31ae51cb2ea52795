"""What workers share: numbers and texts across a fork, sources with their downloads, commands with their results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from predictors.processes.commands import MAX_RESULTS
from predictors.processes.shared_state import SharedState
from predictors.storage.registry import DOWNLOAD_PREFIX
from predictors.storage.source import Source


@pytest.fixture
def shared() -> Iterator[SharedState]:
    state = SharedState(2)
    yield state
    state.close()


def source(path: Path) -> Source:
    path.mkdir(parents=True, exist_ok=True)
    return Source(path, "models:/m@x", "models:/m/1")


def test_a_forked_process_and_this_one_see_the_same(shared: SharedState) -> None:
    pid = os.fork()
    if pid == 0:
        shared.numbers.served = 7
        shared.reload.status = "serving version 7"
        shared.worker_states[1].vote = -7
        shared.set_ready(1)
        os._exit(0)
    os.waitpid(pid, 0)
    assert (shared.numbers.served, shared.reload.status) == (7, "serving version 7")
    assert [(worker.ready, worker.vote) for worker in shared.worker_states] == [(False, 0), (True, -7)]
    assert not shared.all_ready()
    shared.set_ready(0)
    assert shared.all_ready()
    shared.worker_ended(1)
    assert shared.all_ready(), "one worker that is replaced does not make the others unready"
    assert (shared.worker_states[1].ready, shared.worker_states[1].ends) == (False, 1)


def test_a_misspelt_number_is_an_error(shared: SharedState) -> None:
    with pytest.raises(AttributeError):
        shared.numbers.sreved = 1


def test_a_text_that_is_too_long_is_cut_off_between_characters(shared: SharedState) -> None:
    shared.reload.left = "ä" * 2000
    assert set(shared.reload.left) == {"ä"}


def test_the_first_source_is_resolved_once(shared: SharedState, tmp_path: Path) -> None:
    first = shared.sources.first(lambda: source(tmp_path / "one"))
    assert shared.sources.first(lambda: source(tmp_path / "two")) == first


def test_a_download_goes_with_its_last_source(shared: SharedState) -> None:
    download = shared.folder / f"{DOWNLOAD_PREFIX}1"
    for number in (1, 2):
        shared.sources.add(number, source(download / "model"))
    shared.sources.drop(1)
    assert download.is_dir()
    shared.sources.drop_all_but(())
    assert (download.exists(), shared.sources.numbers()) == (False, [])
    shared.sources.drop(2)  # again, which changes nothing


def test_unfinished_downloads_are_dropped(shared: SharedState) -> None:
    finished, unfinished = (shared.folder / f"{DOWNLOAD_PREFIX}{name}" for name in "ab")
    shared.sources.add(1, source(finished / "model"))
    unfinished.mkdir()
    shared.sources.drop_unfinished_downloads()
    assert (finished.is_dir(), unfinished.exists()) == (True, False)


def test_commands_are_carried_out_in_order(shared: SharedState) -> None:
    commands = shared.commands
    numbers = [commands.send(command) for command in ("load", "revert")]
    assert (commands.next(), commands.pending()) == ("load", ["load", "revert"])
    commands.begin()
    assert commands.interrupted
    commands.finish({"version": "2"})
    assert (commands.interrupted, commands.next()) == (False, "revert")
    assert [commands.result(number) for number in numbers] == [{"version": "2"}, None]


def test_results_that_nobody_reads_do_not_pile_up(shared: SharedState) -> None:
    for _ in range(MAX_RESULTS + 5):
        shared.commands.send("poll")
        shared.commands.finish({})
    assert len(list(shared.folder.glob("result-*"))) == MAX_RESULTS
    assert list(shared.folder.glob("command-*")) == []
