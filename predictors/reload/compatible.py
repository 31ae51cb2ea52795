"""Whether requests for one version of a model mean the same to another one."""

from __future__ import annotations

from itertools import zip_longest

from predictors.signature.fields import Field, Param
from predictors.signature.plan import SignaturePlan

MAX_NAMES = 20  # in a message
# MLflow types, and those that hold every value of theirs.
WIDER_TYPES = {
    "integer": {"long", "float", "double"},
    "long": {"double"},
    "float": {"double"},
}


def incompatibilities(served: SignaturePlan, candidate: SignaturePlan) -> list[str]:
    """What breaks the served model's callers, in words; empty if the candidate can replace it."""
    if not served.has_signature:
        return []
    if not candidate.has_signature:
        return ["it has no signature"]
    return [*of_inputs(served, candidate), *of_params(served, candidate), *of_outputs(served, candidate)]


def of_inputs(served: SignaturePlan, candidate: SignaturePlan) -> list[str]:
    if served.from_type_hints != candidate.from_type_hints or served.tensors != candidate.tensors:
        return ["its inputs are of another kind"]
    if not (served.named and candidate.named):
        pairs = enumerate(zip_longest(served.inputs, candidate.inputs))
        return [change for position, (old, new) in pairs for change in changes(f"input {position}", old, new)]
    before = {field.name: field for field in served.inputs}
    after = {field.name: field for field in candidate.inputs}
    names = dict.fromkeys([*before, *after])
    problems = [change for name in names for change in changes(f"input '{name}'", before.get(name), after.get(name))]
    common = [name for name in before if name in after]
    # The order counts for rows without names, and for tensors that hold all columns.
    if common != [name for name in after if name in before] or (not problems and list(after)[: len(common)] != common):
        problems.append(f"its inputs are in another order: {', '.join(list(after)[:MAX_NAMES])}")
    return problems


def changes(what: str, before: Field | None, after: Field | None) -> list[str]:
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
        return all(before.spec.get(part) == after.spec.get(part) for part in ("items", "properties", "values"))
    return after.type == "any" or after.type in WIDER_TYPES.get(before.type, ())


def shape_fits(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    return len(before) == len(after) and all(now in (-1, was) for was, now in zip(before, after, strict=True))


def of_params(served: SignaturePlan, candidate: SignaturePlan) -> list[str]:
    after = {param.name: param for param in candidate.params}
    return [
        f"param '{param.name}' {'has another type' if param.name in after else 'is gone'}"
        for param in served.params
        if kind(param) != kind(after.get(param.name))
    ]


def kind(param: Param | None) -> object:
    return None if param is None else (param.type, param.shape)


def of_outputs(served: SignaturePlan, candidate: SignaturePlan) -> list[str]:
    if not served.outputs or not candidate.outputs:
        return []
    before, after = ([(output.name, output.datatype) for output in plan.outputs] for plan in (served, candidate))
    return [] if before == after else [f"its outputs are {listed(after)} now, and were {listed(before)}"]


def listed(outputs: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name or 'unnamed'} {datatype}" for name, datatype in outputs)
