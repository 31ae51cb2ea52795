"""The decision: a table of what is wanted, what is there, and what is done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.actions import Action, Apply, Decision, Discard, Fail, Promote, Succeed
from controlplane.decide import MAX_STARTS, ChangeUnderWay, Desired, Instance, Observed, Phase, decide

NOW = 1000.0
CHANGE = ChangeUnderWay(deadline=NOW + 600)
LATE = ChangeUnderWay(deadline=NOW - 1)


def one(revision: int, phase: Phase, starts: int = 1, due_at: float = 0.0, message: str = "") -> Instance:
    return Instance(revision, phase, NOW - 5, starts, due_at, message)


def seen(*instances: Instance, serving: int | None = None) -> Observed:
    return Observed(instances, {} if serving is None else {serving: 100})


@pytest.mark.parametrize(
    ("desired", "observed", "action"),
    [
        # A first deployment: it starts, is waited for, gets the requests, and is noted.
        (Desired(1, None, CHANGE), seen(), Apply(1)),
        (Desired(1, None, CHANGE), seen(one(1, "starting")), None),
        (Desired(1, None, CHANGE), seen(one(1, "ready")), Promote(1)),
        (Desired(1, None, CHANGE), seen(one(1, "ready"), serving=1), Succeed()),
        # It fails to start: again after a while, three times in all.
        (Desired(1, None, CHANGE), seen(one(1, "failed", 1, NOW + 5)), None),
        (Desired(1, None, CHANGE), seen(one(1, "failed", 2, NOW - 1)), Apply(1)),
        (
            Desired(1, None, CHANGE), seen(one(1, "failed", 3, NOW - 1, "no model")),
            Fail("revision 1 failed to start 3 times: no model"),
        ),
        # It is never ready.
        (
            Desired(1, None, LATE), seen(one(1, "starting", message="loading")),
            Fail("revision 1 was not ready in time: loading"),
        ),
        (Desired(1, None, LATE), seen(one(1, "ready"), serving=1), Succeed()),
        # Steady: kept up, and alone.
        (Desired(1, 1), seen(one(1, "ready"), serving=1), None),
        (Desired(1, 1), seen(one(1, "failed", 7, NOW - 1), serving=1), Apply(1)),
        (Desired(1, 1), seen(one(1, "failed", 7, NOW + 60), serving=1), None),
        (Desired(1, 1), seen(serving=1), Apply(1)),
        (Desired(1, 1), seen(one(1, "ready")), Promote(1)),
        (Desired(2, 2), seen(one(1, "ready"), one(2, "ready"), serving=2), Discard(1)),
        (Desired(2, 2), seen(one(1, "stopping", due_at=NOW + 9), one(2, "ready"), serving=2), None),
        (Desired(2, 2), seen(one(1, "stopping", due_at=NOW - 1), one(2, "ready"), serving=2), Discard(1)),
        # The one that serves is not ended while the one that should has not answered.
        (Desired(2, 2), seen(one(1, "ready"), one(2, "starting"), serving=1), None),
        # A change: the old one is kept up until the new one serves.
        (Desired(2, 1, CHANGE), seen(one(1, "ready"), serving=1), Apply(2)),
        (Desired(2, 1, CHANGE), seen(one(1, "failed", 1, NOW - 1), one(2, "starting"), serving=1), Apply(1)),
        (Desired(2, 1, CHANGE), seen(one(1, "ready"), one(2, "ready"), serving=1), Promote(2)),
        (Desired(2, 1, CHANGE), seen(one(1, "ready"), one(2, "ready"), serving=2), Succeed()),
        # Undeployed: all are ended, then it is noted.
        (Desired(None, 1, CHANGE), seen(one(1, "ready"), serving=1), Discard(1)),
        (Desired(None, 1, CHANGE), seen(one(1, "stopping", due_at=NOW + 40)), None),
        (Desired(None, 1, CHANGE), seen(), Succeed()),
        (Desired(None), seen(), None),
        # Not known to the store.
        (Desired(None), seen(one(3, "ready"), serving=3), Discard(3)),
    ],
)  # fmt: skip
def test_the_next_action(desired: Desired, observed: Observed, action: Action | None) -> None:
    assert decide(desired, observed, NOW).action == action


@pytest.mark.parametrize(
    ("desired", "observed", "again_at"),
    [
        (Desired(1, 1), seen(one(1, "ready"), serving=1), None),
        (Desired(1, 1), seen(one(1, "failed", 7, NOW + 60), serving=1), NOW + 60),
        (Desired(1, None, ChangeUnderWay(NOW + 0.05)), seen(one(1, "starting")), NOW + 0.05),
        (Desired(None, 1, CHANGE), seen(one(1, "stopping", due_at=NOW + 40)), NOW + 40),
        (Desired(2, 2), seen(one(1, "stopping", due_at=NOW + 9), one(2, "ready"), serving=2), NOW + 9),
    ],
)
def test_when_to_see_again(desired: Desired, observed: Observed, again_at: float | None) -> None:
    assert decide(desired, observed, NOW) == Decision(None, again_at)


PHASES = st.sampled_from(["starting", "ready", "unready", "failed", "stopping"])
INSTANCES = st.builds(
    one, st.integers(1, 3), PHASES, st.integers(1, 5), st.sampled_from([NOW - 1, NOW + 30])
)  # fmt: skip
REVISIONS = st.none() | st.integers(1, 3)


@given(
    REVISIONS, REVISIONS, st.sampled_from([None, CHANGE, LATE]),
    st.lists(INSTANCES, unique_by=lambda each: each.revision), REVISIONS,
)  # fmt: skip
def test_what_never_happens(
    wanted: int | None,
    active: int | None,
    change: ChangeUnderWay | None,
    instances: list[Instance],
    serving: int | None,
) -> None:
    observed = seen(*instances, serving=serving)
    decision = decide(Desired(wanted, active, change), observed, NOW)
    there = {each.revision: each for each in instances}
    match decision.action:
        case Discard(revision):
            # What serves is ended only if nothing should serve, or if it is stopping already and out of time.
            assert revision in there
            assert revision != wanted or there[revision].phase == "stopping"
            overdue = there[revision].phase == "stopping"
            assert (
                overdue or wanted is None or (change is None and there[wanted].phase == "ready" and serving == wanted)
            )
        case Promote(revision):
            assert revision == wanted
            assert there[revision].phase == "ready"
        case Apply(revision):
            assert revision in (wanted, active)
            assert revision not in there or (there[revision].phase == "failed" and there[revision].due_at <= NOW)
        case Succeed():
            assert change is not None
            assert wanted is None or serving == wanted
        case Fail():
            assert change is LATE or there[wanted or 0].starts >= MAX_STARTS
        case None:
            assert decision.again_at is None or decision.again_at > NOW
