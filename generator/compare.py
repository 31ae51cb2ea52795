"""Describes the changes between two sets of resources, and whether they restart pods."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from generator.resources.meta import Resource

Key = tuple[str, str]
MODE = "serving.kserve.io/deploymentMode"
# Descriptions of frequent changes: a pattern of the path, and its text.
DESCRIPTIONS = [
    (r"predictor\.minReplicas", "minimum replicas:"),
    (r"predictor\.maxReplicas", "maximum replicas:"),
    (r"predictor\.canaryTrafficPercent", "percent of the traffic to the canary"),
    (r"canary\[(.*)\]\.trafficPercent", r"percent of the traffic to the canary \1"),
    (r"predictor\.timeout", "timeout in seconds"),
    (r"predictor\.scaleTarget", "target of the autoscaler"),
    (r"predictor\.scaleMetric", "metric of the autoscaler"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.image", "image"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.resources\.requests\.cpu", "CPU request"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.resources\.limits\.cpu", "CPU limit"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.resources\.requests\.memory", "memory request"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.resources\.limits\.memory", "memory limit"),
    (r"predictor\.model\.storageUri", "model"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.env\[(STORAGE_URI|MODEL_URI)\](?:\.value)?", r"model (\1)"),
    (r"predictor\.initContainers\[model-downloader\]\.env\[MODEL_URI\](?:\.value)?", "model to download"),
    (r"predictor\.(?:containers\[kserve-container\]|model)\.env\[([^\]]+)\](?:\.value)?", r"variable \1"),
    (r"metadata\.labels\.(.+)", r"label \1"),
    (r"metadata\.annotations\.(.+)", r"annotation \1"),
]
# Fields outside the pod template: in Standard; a Knative revision contains nearly all of them.
NO_RESTART = re.compile(
    r"predictor\.(minReplicas|maxReplicas|scaleTarget|scaleMetric|scaleMetricType|autoScaling|canaryTrafficPercent"
    r"|deploymentStrategy|timeout)\b.*|canary\b.*|metadata\.labels\.networking\.kserve\.io/visibility"
)
NO_RESTART_KNATIVE = re.compile(
    r"predictor\.canaryTrafficPercent|metadata\.annotations\.serving\.knative\.dev/rollout-duration"
    r"|metadata\.labels\.networking\.knative\.dev/visibility"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    resource: str
    text: str
    restarts: bool = False

    def __str__(self) -> str:
        return f"{self.resource}: {self.text}"


def compare(before: Sequence[Resource], after: Sequence[Resource]) -> list[Change]:
    """All differences, in the order of the resources."""
    old, new = keyed(before), keyed(after)
    changes: list[Change] = []
    for key in dict.fromkeys([*old, *new]):
        name = f"{key[0]} {key[1]}"
        if key not in new:
            changes.append(Change(name, "is no longer rendered: apply --prune, or delete it"))
        elif key not in old:
            changes.append(Change(name, "is new"))
        elif old[key] != new[key]:
            changes += changed(name, old[key], new[key])
    return changes


def keyed(resources: Sequence[Resource]) -> dict[Key, Resource]:
    return {(resource["kind"], resource["metadata"]["name"]): resource for resource in resources}


def changed(name: str, old: Resource, new: Resource) -> Iterator[Change]:
    spaces = [each["metadata"].get("namespace", "default") for each in (old, new)]
    if spaces[0] != spaces[1]:
        yield Change(name, f"namespace {spaces[0]} → {spaces[1]}: a new one is created there, and the old one stays")
    modes = [each["metadata"].get("annotations", {}).get(MODE) for each in (old, new)]
    if modes[0] != modes[1]:
        yield Change(name, f"mode {modes[0]} → {modes[1]}: KServe refuses this change, so delete the serve first", True)
    serves = new["kind"] == "InferenceService"
    for path, before, after in differences(old, new, ""):
        if path not in ("metadata.namespace", f"metadata.annotations.{MODE}"):
            short = path.removeprefix("spec.") if serves else path
            yield Change(name, described(short, before, after), serves and restarts(short, modes[1] == "Knative"))


def differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths whose values differ; items of lists are matched by their names."""
    if old == new:
        return
    if isinstance(old, list) and isinstance(new, list) and (names := by_name(old, new)):
        for name in dict.fromkeys([*names[0], *names[1]]):
            yield from differences(names[0].get(name), names[1].get(name), f"{path}[{name}]")
        if list(names[0]) != list(names[1]) and set(names[0]) == set(names[1]):
            yield path, "one order", "another"
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    else:
        yield path, old, new


def by_name(old: list[Any], new: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Both lists by the names of their items, if all have one."""
    mappings = []
    for items in (old, new):
        names = [name_of(item) for item in items]
        if None in names or len(set(names)) != len(names):
            return None
        mappings.append({str(name): item for name, item in zip(names, items, strict=True)})
    return mappings[0], mappings[1]


def name_of(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    inner = item.get("predictor")
    name = item.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return name if isinstance(name, str) else None


def described(path: str, before: Any, after: Any) -> str:
    """A difference as text."""
    what = next(
        (re.sub(f"^{pattern}$", text, path) for pattern, text in DESCRIPTIONS if re.fullmatch(pattern, path)),
        f"{path}:",
    )
    if before is None:
        return f"{what} {shown(after)} (new)"
    if after is None and path == "predictor.canaryTrafficPercent":
        return f"{what} {shown(before)} (removed: `kubectl apply` leaves what a patch has set; use undo or promote)"
    if after is None:
        return f"{what} {shown(before)} (removed)"
    return f"{what} {shown(before)} → {shown(after)}"


def shown(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"name", "value"}:
        value = value["value"]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


def restarts(path: str, knative: bool) -> bool:
    """Whether the change affects the pod template, so that pods are replaced."""
    if not path.startswith(("predictor", "canary", "metadata.labels", "metadata.annotations")):
        return False
    return not (NO_RESTART_KNATIVE if knative else NO_RESTART).fullmatch(path)


def summary(changes: Sequence[Change], resources: Sequence[Resource]) -> str:
    """The effect on the pods."""
    if not any(change.restarts for change in changes):
        return "Does not restart the pods."
    modes = {resource["metadata"].get("annotations", {}).get(MODE) for resource in resources}
    return "Restarts the pods" + (", as a new revision of Knative." if "Knative" in modes else ", one after another.")
