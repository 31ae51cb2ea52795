"""The spec after each command of a rollout."""

from __future__ import annotations

from generator.canary_serve import NEXT
from generator.plan import ManifestPlan
from generator.problems import SpecError, problem
from generator.spec import Canary, ServeSpec
from generator.spec.canary import Previous


def with_canary(spec: ServeSpec, canary: Canary) -> ServeSpec:
    """The spec with a canary, in the place of one of the same name."""
    if spec.canary is None or called(spec.canary) == called(canary) or spec.mode == "Knative" or canary.by == "kserve":
        return spec.model_copy(update={"canary": canary})
    others = [each for each in spec.variants if called(each) != called(canary)]
    return spec.model_copy(update={"variants": [*others, canary]})


def promoted(spec: ServeSpec, plan: ManifestPlan, winner: Canary) -> ServeSpec:
    """The spec with the model of the winner; the other canaries stay."""
    if winner in spec.canaries and plan.behind:
        served = plan.behind[spec.canaries.index(winner)].stable
        flavor = winner.flavor or (served.flavor if spec.flavor else None)
    else:
        assert plan.canary is not None  # noqa: S101 - the plan of a spec with a canary has one
        served = plan.canary
        flavor = served.flavor if served.forced else None
    return without(spec, winner).model_copy(
        update={
            "model": winner.model,
            "previous": Previous(model=spec.model, flavor=spec.flavor, image=spec.image),
            "revision": spec.revision if plan.knative or plan.behind else served.name,
            "flavor": flavor,
            "image": winner.image or spec.image,
            # The size of the old model does not apply to the new one.
            "model_size": None if winner.model != spec.model else spec.model_size,
        }
    )


def rolled_back(spec: ServeSpec, only: str | None) -> ServeSpec:
    """The spec whose canaries, or the one of that name, get no traffic; they stay, except with by: kserve."""
    canary_in(spec)
    if spec.mode == "Standard" and not spec.is_split_by_route:
        return spec.model_copy(update={"canary": None})

    def off(canary: Canary) -> Canary:
        if only is not None and called(canary) != only:
            return canary
        return canary.model_copy(update={"percent": 0, "shadow": None})

    return spec.model_copy(
        update={"canary": off(spec.canary) if spec.canary else None, "variants": [off(each) for each in spec.variants]}
    )


def undone(spec: ServeSpec) -> ServeSpec:
    """The spec without canaries; one that has none goes back to the model before the last promotion."""
    if spec.canaries:
        return spec.model_copy(update={"canary": None, "variants": []})
    if spec.previous is None:
        raise SpecError([problem("previous", "is not set, and there is no canary: there is nothing to undo")])
    before = spec.previous
    return spec.model_copy(
        update={
            "model": before.model,
            "flavor": before.flavor,
            "image": before.image,
            "previous": None,
            "model_size": None if before.model != spec.model else spec.model_size,
        }
    )


def without(spec: ServeSpec, canary: Canary) -> ServeSpec:
    """The spec without one of its canaries; a variant takes the place of the first."""
    rest = [each for each in spec.canaries if each is not canary]
    return spec.model_copy(update={"canary": rest[0] if rest else None, "variants": rest[1:]})


def canary_in(spec: ServeSpec, name: str | None = None) -> Canary:
    """The canary of that name, or the only one."""
    if spec.canary is None:
        raise SpecError([problem("canary", "is not set: expected canary: {model: …, percent: …}, as on the cluster")])
    known = {called(each): each for each in spec.canaries}
    if name is None and len(known) > 1:
        raise SpecError([problem("canary", f"there are several: expected --name with one of {', '.join(known)}")])
    if name is not None and name not in known:
        raise SpecError([problem("canary.name", f"there is no canary {name!r}: expected one of {', '.join(known)}")])
    return known[name] if name is not None else spec.canary


def called(canary: Canary) -> str:
    return canary.name or NEXT
