"""Lean skops knows what skops knows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.utils import all_estimators

from predictors.safety import skops_files


def run(script: str, *arguments: str) -> list[str]:
    """In a process of its own: here the whole of skops is imported."""
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_finds_every_estimator_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {(name, estimators.__module__) for name, estimators in all_estimators()}
    others = {("Tree", "sklearn.tree._tree"), ("BaseEstimator", "sklearn.base"), ("Pipeline", "sklearn.nothing")}
    others |= {("BaseSearchCV", "sklearn.model_selection._search"), ("LogisticRegression", "sklearn.linear_model")}
    text = "".join(f'"__class__": "{name}", "__module__": "{module}",' for name, module in known | others)
    monkeypatch.setattr(skops_files, "read_schema", lambda file: text)
    estimators = {(name, kind.__module__) for name, kind in skops_files.estimators_in(tmp_path)}
    assert estimators == known


@pytest.mark.parametrize(
    "case",
    [
        "sklearn-pipeline-mixed-columns",
        "sklearn-logistic",
        "sklearn-forest-text-labels",
        "sklearn-isolation-forest",
        "sklearn-svc",
    ],
)
def test_types_and_models_are_the_same(case: str, zoo: Callable[[str], Path], tmp_path: Path) -> None:
    import mlflow.sklearn
    import skops.io  # it imports PyTorch, by way of scikit-learn's list of estimators

    file = tmp_path / "model.skops"
    skops.io.dump(mlflow.sklearn.load_model(str(zoo(case))), file)
    script = """
import sys
from pathlib import Path
from predictors.safety import skops_files
file = Path(sys.argv[1])
with skops_files.lean_skops(file) as lean:
    unknown = lean.get_untrusted_types(file=file)
model = skops_files.load(file, unknown)
print(type(model).__name__, "skops.io" in sys.modules, *skops_files.untrusted_types(file))
"""
    kind, whole, *untrusted = run(script, str(file))
    expected = skops.io.get_untrusted_types(file=file)
    assert untrusted == expected
    assert kind == type(skops.io.load(file, trusted=expected)).__name__
    assert whole == "False", "lean skops was not enough"


def test_a_stand_in_cannot_be_made() -> None:
    module = skops_files.REPLACED_MODULES["sklearn.tree._tree"]
    assert module is not None
    with pytest.raises(TypeError):
        module.Tree()
