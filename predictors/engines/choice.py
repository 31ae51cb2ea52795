"""The choice of the engine that serves a model: the first candidate that proves itself."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from predictors.engines.engine import Answer, Engine, EngineCandidate, ProvenEngine, Rows, Run, Unsuited
from predictors.engines.probes import ORDINARY
from predictors.engines.proof import ProofRows, limit_probes, prove, try_run
from predictors.engines.timing import MAX_TIMED_ROWS, measure
from predictors.protocol.results import is_frame

log = logging.getLogger("predictors")


@dataclass(frozen=True)
class EngineChoice:
    """The engine that serves, or None for the model itself, and why the other candidates do not."""

    proven: ProvenEngine | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why each of the other candidates does not serve."""

    @property
    def name(self) -> str:
        return "native" if self.proven is None else self.proven.engine.name

    @property
    def reason(self) -> str:
        return "; ".join(f"{name}: {why}" for name, why in self.reasons.items())


class ProbeSource(Protocol):
    """What is known of the rows that a model accepts."""

    @property
    def layouts(self) -> Sequence[bool]:
        """Whether the model's library has their matrix column by column in memory; both where that may be."""

    def groups(self, engine: Engine) -> Mapping[str, Rows]:
        """Groups of rows by their description for messages. They are the same on every call."""


def choose(
    candidates: Sequence[EngineCandidate], mode: str, probing: ProbeSource, native: Run, *, batching: str = "exact"
) -> EngineChoice:
    """The first candidate that `mode` allows and that proves itself against `native`."""
    reasons: dict[str, str] = {}
    for candidate in candidates:
        if (mode == "native" and candidate.compiled) or (mode == "compiled" and not candidate.compiled):
            reasons[candidate.name] = f"--engine={mode}"
            continue
        try:
            built = candidate.build()
            probes = limit_probes(probing.groups(built), native)
            ordinary = probes.groups[ORDINARY]
            engine = in_form_of_model(built, try_run(native, ordinary[:1]))
            engine = proven_in_a_layout(engine, probing.layouts, native, probes)
            exact = batching == "exact"
            return EngineChoice(measure(engine, ordinary[:MAX_TIMED_ROWS], exact=exact), reasons)
        except Unsuited as unsuited:
            reasons[candidate.name] = str(unsuited)
        except ImportError as error:
            reasons[candidate.name] = f"{error.name} is not installed"
        except Exception as error:
            log.debug("the engine %s cannot be used", candidate.name, exc_info=True)
            reasons[candidate.name] = f"it cannot be built ({type(error).__name__})"
    return EngineChoice(None, reasons)


def proven_in_a_layout(engine: Engine, layouts: Sequence[bool], native: Run, probes: ProofRows) -> Engine:
    """The engine in the first layout of its rows in which it proves itself."""
    for columnwise in layouts[:-1]:
        with contextlib.suppress(Unsuited):
            prove(laid_out := in_layout_of_model(engine, columnwise=columnwise), native, probes)
            return laid_out
    prove(laid_out := in_layout_of_model(engine, columnwise=layouts[-1]), native, probes)
    return laid_out


def in_layout_of_model(engine: Engine, *, columnwise: bool) -> Engine:
    """The engine with its rows in memory as the model gets them: the last bit of a sum may depend on it."""
    if not columnwise:
        return engine
    run, joint = engine.run, engine.joint
    return replace(
        engine,
        run=lambda rows, wanted: run(np.asfortranarray(rows), wanted),
        joint=joint and (lambda parts, wanted: joint([np.asfortranarray(rows) for rows in parts], wanted)),
    )


def in_form_of_model(engine: Engine, answer: Answer | None) -> Engine:
    """The engine with a table as its answer, if the model's is one with the same numbers."""
    if answer is None or not is_frame(answer[0]):
        return engine
    import pandas as pd

    run, columns = engine.run, answer[0].columns

    def in_table(rows: Rows, probabilities: bool) -> Answer:
        predictions, shares = run(rows, probabilities)
        if is_frame(predictions):
            return predictions, shares
        if isinstance(predictions, Mapping):
            predictions = {name: values.reshape(-1) for name, values in predictions.items()}
        return pd.DataFrame(predictions, columns=columns), shares

    return replace(engine, run=in_table, joint=None)
