"""Cases with one server at a time: start time and memory."""

from __future__ import annotations

import statistics

from loadtest.peers.client import PeerClient
from loadtest.peers.models import Saved, rows
from loadtest.peers.pace import BenchmarkPace
from loadtest.peers.process import BenchmarkFailed
from loadtest.peers.results import CaseResult, ComparisonRow
from loadtest.peers.servers import Starter

_REQUESTS = 1_000
_CONNECTIONS = 8
_FURTHER_WORKERS = 2


def starts(outcome: CaseResult, model: Saved, starter: Starter, pace: BenchmarkPace) -> None:
    values: dict[str, list[float]] = {who: [] for who in outcome.case.contenders}
    # An extra first round fills the page cache for all.
    for number in range(pace.rounds + 1):
        for who in outcome.present:
            server = starter.start(who, model)
            try:
                seconds = server.wait_ready()
            except BenchmarkFailed as error:
                outcome.fail(who, str(error))
                continue
            finally:
                server.stop()
            outcome.progress.say(f"round {number} of {pace.rounds}, {who}: {seconds:.2f} s")
            if number:
                values[who].append(seconds)
                outcome.see(number, who, seconds=seconds)
    for bar in outcome.case.bars:
        row = outcome.row(bar, "s", values)
        if row.ratios:
            row.ratio = statistics.median(row.ours_values) / statistics.median(row.peer_values)


def memory(outcome: CaseResult, model: Saved, starter: Starter, pace: BenchmarkPace) -> None:
    values: dict[str, list[float]] = {who: [] for who in outcome.case.contenders}
    for number in range(1, pace.memory_rounds + 1):
        for who in outcome.present:
            used = _used(outcome, who, model, starter, 1)
            if used is not None:
                values[who].append(used)
                outcome.see(number, who, pss_mb=used)
    for bar in outcome.case.bars:
        outcome.row(bar, "MB", values)


def workers(outcome: CaseResult, model: Saved, starter: Starter, pace: BenchmarkPace) -> None:
    """Memory that each further worker adds, as a share of the memory of a single worker."""
    many = 1 + _FURTHER_WORKERS
    for bar in outcome.case.bars:
        alone: list[float] = []
        together: list[float] = []
        for number in range(1, pace.memory_rounds + 1):
            one = _used(outcome, bar.ours, model, starter, 1)
            several = _used(outcome, bar.ours, model, starter, many) if one is not None else None
            if one is None or several is None:
                break
            alone.append(one)
            together.append(several)
            outcome.see(number, bar.ours, pss_mb=one, **{f"pss_mb_{many}_workers": several})
        shares = [(more - one) / _FURTHER_WORKERS / one for one, more in zip(alone, together, strict=True)]
        note = f"{many} workers hold {statistics.median(together):.0f} MB" if together else ""
        reason = outcome.left_out.get(bar.ours, "")
        outcome.rows.append(
            ComparisonRow.of(outcome.case, bar, "MB", ours_values=alone, ratios=shares, reason=reason, note=note)
        )


def _used(outcome: CaseResult, who: str, model: Saved, starter: Starter, count: int) -> float | None:
    """Megabytes of a server's processes after a thousand requests per worker."""
    post = outcome.case.payload_for(who, rows(outcome.case.rows))
    server = starter.start(who, model, count)
    try:
        server.wait_ready()
        # Enough connections that each worker gets some.
        clients = [PeerClient(server.port) for _ in range(_CONNECTIONS * count)]
        for number in range(_REQUESTS * count):
            clients[number % len(clients)].post(post)
        used = server.child.pss_bytes() / 1e6
        for client in clients:
            client.close()
    except (BenchmarkFailed, OSError) as error:
        outcome.fail(who, f"{error}\n{server.child.tail()}")
        return None
    finally:
        server.stop()
    outcome.progress.say(f"{who}, {count} worker{'s' if count > 1 else ''}: {used:.0f} MB")
    return used
