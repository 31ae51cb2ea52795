"""Whether requests that one version of a model takes mean the same to another one."""

from __future__ import annotations

from itertools import zip_longest

from predictors.signature.fields import Field, Param
from predictors.signature.plan import SignaturePlan

# MLflow types, and those that take every value of theirs.
WIDER = {
    "integer": {"long", "float", "double"},
    "long": {"double"},
    "float": {"double"},
}


def incompatible(served: SignaturePlan, other: SignaturePlan) -> list[str]:
    """What callers of the served model would stumble over, in words; nothing if the other can take its place."""
    if not served.has_signature:
        return []
    if not other.has_signature:
        return ["it has no signature"]
    return [*of_inputs(served, other), *of_params(served, other), *of_outputs(served, other)]


def of_inputs(served: SignaturePlan, other: SignaturePlan) -> list[str]:
    if served.from_type_hints != other.from_type_hints or served.tensors != other.tensors:
        return ["its inputs are of another kind"]
    found = []
    before, after = {one.name: one for one in served.inputs}, {one.name: one for one in other.inputs}
    if not (served.named and other.named):
        for place, (one, then) in enumerate(zip_longest(served.inputs, other.inputs)):
            found += changed(f"input {place}", one, then)
        return found
    for name in [*before, *(name for name in after if name not in before)]:
        found += changed(f"input '{name}'", before.get(name), after.get(name))
    kept = [name for name in before if name in after]
    # Rows without names and tensors that hold all columns go by the order.
    if kept != [name for name in after if name in before] or (not found and list(after)[: len(kept)] != kept):
        found.append(f"the order of its inputs is another: {', '.join(list(after)[:20])}")
    return found


def changed(what: str, before: Field | None, after: Field | None) -> list[str]:
    if before is None:
        return [f"{what} is new and required"] if after is not None and after.required else []
    if after is None:
        return [f"{what} is gone"]
    if after.required and not before.required:
        return [f"{what} is required now"]
    fits = accepts(before, after) and shape_fits(before.shape, after.shape)
    return [] if fits else [f"{what} is {after.expected} now, and was {before.expected}"]


def accepts(before: Field, after: Field) -> bool:
    if before.type == after.type == "tensor":
        return before.dtype == after.dtype
    if before.type == after.type:
        return before.spec.get("items") == after.spec.get("items") and (
            before.spec.get("properties") == after.spec.get("properties")
        ) and before.spec.get("values") == after.spec.get("values")  # fmt: skip
    return after.type == "any" or after.type in WIDER.get(before.type, ())


def shape_fits(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    return len(before) == len(after) and all(now in (-1, was) for was, now in zip(before, after, strict=True))


def of_params(served: SignaturePlan, other: SignaturePlan) -> list[str]:
    after = {one.name: one for one in other.params}
    return [
        f"param '{one.name}' is {'of another type' if one.name in after else 'gone'}"
        for one in served.params
        if kind(one) != kind(after.get(one.name))
    ]


def kind(param: Param | None) -> object:
    return None if param is None else (param.type, param.shape)


def of_outputs(served: SignaturePlan, other: SignaturePlan) -> list[str]:
    if not served.outputs or not other.outputs:
        return []
    before, after = ([(one.name, one.datatype) for one in plan.outputs] for plan in (served, other))
    if before == after:
        return []
    listed = ", ".join(f"{name or 'unnamed'} {datatype}" for name, datatype in after)
    return [f"its outputs are {listed} now, and were " + ", ".join(f"{n or 'unnamed'} {d}" for n, d in before)]
