"""The candidate as the server reports it: what is wanted, what stands beside the model, and what both have answered."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from predictors.candidate.spec import WantedCandidate
from predictors.pipeline.served_models import ServedModels
from predictors.telemetry.metrics import answers_by_version, shadow_counts


def candidate_report(served_models: ServedModels) -> dict[str, Any] | None:
    """None if no candidate is wanted and none is there."""
    served, shared = served_models.current(), served_models.shared
    spec, pairing = WantedCandidate(shared.folder).get(), None if served is None else served.pairing
    if spec is None and pairing is None:
        return None
    report: dict[str, Any] = {
        "name": served_models.settings.model_name,
        **({} if spec is None else asdict(spec)),
        "version": None,
        "model_version": None if served is None else served.loaded.version,
        "state": "waiting",
        "reason": shared.candidate.status,
    }
    if served is None or served.pair is None or pairing is None:
        return report
    pair, name = served.pair, served_models.settings.model_name
    counts = answers_by_version(name)
    if pair.shadow is not None:
        report["shadow"] = shadow_counts(name, pair.candidate.loaded.version)
    return report | {
        "mode": pairing.mode,
        "share": pairing.share,
        "key": pairing.key,
        "version": pair.candidate.loaded.version,
        "state": "ready",
        "counts": {
            role: counts.get(one.loaded.version, {"requests": 0, "errors": 0})
            for role, one in (("model", pair.model), ("candidate", pair.candidate))
        },
    }
