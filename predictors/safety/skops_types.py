"""Models in skops files: every type that skops itself does not trust must be in `--skops-trusted`.

skops trusts no decision trees (a crafted one can crash the process): operators add `sklearn.tree._tree.Tree`.

`--skops-trusted` alone restricts skops files to the operator's list, which the list in the MLmodel file cannot extend.
It does not affect models in other formats: a pickle still loads unless code execution is refused as well.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from predictors.safety import skops_files
from predictors.safety.model_files import NEVER, ModelFiles, refuse

SKOPS_FLAVORS = ("sklearn", "lightgbm")


def check_sklearn(model: ModelFiles) -> None:
    check_skops(model, model.files("data", "model_path", "pickled_model"), (), default="pickle")


def check_skops(model: ModelFiles, files: list[Path], trusted: Collection[str], default: str) -> None:
    written_as = model.config.get("serialization_format", default)
    if written_as != "skops":
        what = f"serialization_format {written_as!r} of {', '.join(map(model.describe, files))}"
        model.refuse_code(what, "it runs code when it is loaded")
        return
    for file in files:
        try:
            types = skops_files.untrusted_types(file)
        except Exception as error:
            why = f"skops cannot tell which types it holds ({type(error).__name__}: {error})"
            refuse(model.describe(file), why, NEVER)
        unknown = sorted({*types}.difference(trusted, model.policy.skops_trusted or set()))
        if unknown:
            why = f"it holds types that the operator does not trust: {', '.join(unknown)}"
            refuse(model.describe(file), why, f"--skops-trusted {','.join(unknown)} would allow it")
