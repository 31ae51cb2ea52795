"""A plan of a rollout: its steps, each with what it needs, does and waits for, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

from generator.rollout.actions import Action, Patch
from generator.rollout.conditions import Condition
from generator.spec import ServeSpec


@dataclass(frozen=True, slots=True)
class Step:
    """A step. Its actions may be carried out twice."""

    text: str
    actions: tuple[Action, ...] = ()
    requires: tuple[Condition, ...] = ()
    """What must hold before; otherwise the rollout stops here."""
    waits: tuple[Condition, ...] = ()
    """What to wait for afterwards."""
    done: tuple[Condition, ...] = ()
    """If all of these hold, the actions have been carried out before, and only the waiting is left."""
    moot: tuple[Condition, ...] = ()
    """If all of these hold, a later step has been carried out, and this one is passed over."""
    settle: float = 0
    """Seconds for which the conditions must hold without a break, where somebody may undo the step."""
    back: tuple[Action, ...] = ()
    """The way back."""


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """The steps from what the cluster has to what a spec says."""

    spec: ServeSpec
    """The spec after the rollout."""
    steps: tuple[Step, ...]
    note: str
    """What the rollout comes to, in one sentence."""

    @property
    def patches(self) -> list[Patch]:
        return [action for step in self.steps for action in step.actions if isinstance(action, Patch)]
