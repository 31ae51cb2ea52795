"""What a candidate must fulfil before it replaces the served model: requests that callers send today must still fit."""

from __future__ import annotations

from dataclasses import replace

from predictors.environments.dependencies import differences, newly_critical
from predictors.flavor import read_mlmodel
from predictors.model.base import MLflowModel
from predictors.pipeline.served_model import ServedModel
from predictors.protocol.names import quoted
from predictors.reload.compatible import incompatibilities
from predictors.reload.failures import ReloadRefused
from predictors.signature.plan import read_plan
from predictors.storage.source import Source
from predictors.uris import ModelURI

MAX_CHANGES = 10  # that a message names
OVERRIDE = "(--allow-signature-change serves it anyway)"


def check_place(uri: str, served: Source) -> None:
    """Refuses a candidate from anywhere but the registry and the folder that the served model lies in.

    Whoever may change what a server serves is not to choose among all files and hosts that it can reach.
    """
    if uri.startswith("models:/") and not uri.startswith("models://"):
        return
    if served.demo or not lies_beside(ModelURI.parse(uri), ModelURI.parse(served.resolved_uri)):
        raise ReloadRefused(
            "a candidate comes from the registry (models:/NAME/VERSION, models:/NAME@ALIAS) or from the folder beside "
            "that of the served model"
        )


def lies_beside(uri: ModelURI, other: ModelURI) -> bool:
    folder, beside = uri.local_folder, other.local_folder
    if folder is None or beside is None:
        return "://" in uri.text and ".." not in uri.text and parent(uri) == parent(other)
    try:
        return folder.resolve().parent == beside.resolve().parent
    except (OSError, ValueError):  # no path at all
        return False


def parent(uri: ModelURI) -> str:
    return uri.text.rstrip("/").rpartition("/")[0]


def check_signature(served: ServedModel, source: Source) -> None:
    """Refuses a version that today's requests do not fit."""
    if served.model.settings.allow_signature_change:
        return
    before, after = read_plan(served.loaded.mlmodel), read_plan(read_mlmodel(source.path))
    if served.features is not None:  # a new input may be a feature that is looked up; `check_features` knows
        known = {field.name for field in before.inputs}
        inputs = (field if field.name in known else replace(field, required=False) for field in after.inputs)
        after = replace(after, inputs=tuple(inputs))
    changes = incompatibilities(before, after)
    if changes:
        raise ReloadRefused(
            f"its signature does not fit the one that is served: {'; '.join(changes[:MAX_CHANGES])} {OVERRIDE}"
        )


def check_dependencies(served: ServedModel, source: Source) -> None:
    """Refuses a version with requirements that are not installed, unless the served model lacks the same."""
    if served.loaded.unmet is None:
        return
    missing = newly_critical(served.loaded.unmet, differences(read_mlmodel(source.path)))
    if missing:
        raise ReloadRefused(
            f"it needs another environment: {'; '.join(map(str, missing))} "
            "(--env-manager=uv builds one, --dependencies=ignore skips this check)"
        )


def check_features(served: ServedModel, model: MLflowModel) -> None:
    """Refuses a loaded version whose callers would have to send features that are looked up today, or other keys."""
    if served.features is None or served.model.settings.allow_signature_change:
        return
    before = served.features.description
    after = model.features.description if model.features else None
    columns, entities = (after.columns, after.entities) if after else ((), ())
    served_inputs, inputs = served.loaded.plan.inputs, model.require_loaded().plan.inputs
    required = [field.name for field in inputs if field.required]

    if lost := [name for name in before.columns if name in required and name not in columns]:
        raise ReloadRefused(f"it does not look up {quoted(lost)}, which today's requests leave out {OVERRIDE}")

    known = {field.name for field in served_inputs}
    if new := [name for name in required if name not in known and name not in columns]:
        raise ReloadRefused(f"it requires {quoted(new)}, which today's requests do not send {OVERRIDE}")

    sent = [*before.entities, *(field.name for field in served_inputs if field.required)]
    if unsent := [name for name in entities if name not in sent]:
        raise ReloadRefused(f"it looks features up by {quoted(unsent)}, which today's requests leave out {OVERRIDE}")

    keys = model.features.plan.keys.values() if model.features else ()
    accepted = [*keys, *(field.name for field in inputs)]
    if unknown := [name for name in before.entities if inputs and name not in accepted]:
        raise ReloadRefused(f"it does not accept {quoted(unknown)}, which today's requests send as keys {OVERRIDE}")
