"""Notes for the person who applies the resources: what they need of the cluster, and what may surprise.

`notes_of` is the door; each module has the notes about one subject.
"""

from __future__ import annotations

from generator.notes import mode, model, prediction_log, scaling, surroundings
from generator.plan import ManifestPlan

SUBJECTS = (model, mode, scaling, prediction_log, surroundings)


def notes_of(plan: ManifestPlan) -> list[str]:
    return [note for subject in SUBJECTS for note in subject.notes_of(plan)]
