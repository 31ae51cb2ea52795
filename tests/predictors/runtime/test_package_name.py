"""Models whose code folder has the name of one of our packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import cold_process, process

# Its modules have the names of ours as well, in a package whose __init__ says something.
MODULES = {
    "__init__.py": "from {name}.settings import FACTOR\n",
    "settings.py": "FACTOR = 3\n",
    "model.py": """\
import mlflow


class Multiplier(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        from {name} import FACTOR
        from {name}.features import plus_one

        return plus_one(model_input["a"] * FACTOR)
""",
    "features.py": "def plus_one(values):\n    return values + 1\n",
}
SAVE = """\
import mlflow, pandas as pd
from mlflow.models import infer_signature
from {name}.model import Multiplier

data = pd.DataFrame({{"a": [1.0, 2.0]}})
mlflow.pyfunc.save_model(
    "model", python_model=Multiplier(), code_paths=["{name}"], signature=infer_signature(data, data["a"]),
    pip_requirements=[],
)
"""


@pytest.mark.parametrize("name", ["predictors", "monitoring", "generator"])
def test_a_model_finds_its_own_package_and_the_server_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for file, text in MODULES.items():
        (tmp_path / name / file).write_text(text.format(name=name))
    (tmp_path / "save.py").write_text(SAVE.format(name=name))
    subprocess.run([sys.executable, "save.py"], cwd=tmp_path, check=True)
    serving = cold_process if name == "predictors" else process
    with serving(tmp_path, "--model-uri", str(tmp_path / "model"), "--reload-interval", "0") as server:
        running = server.running
        assert running.predict({"instances": [{"a": 2.0}]}).json()["predictions"] == [7.0]
        if name == "predictors":  # what the server imports late, and another load with its trial
            for path in ("/schema", "/docs", "/openapi.json", "/metrics", "/v2/models/model"):
                assert running.get(path).status_code == 200, path
            (tmp_path / "model" / "notes.txt").write_text("another version")
            reply = running.post("/v2/repository/models/model/load")
            assert (reply.status_code, reply.json()["load"]) == (200, True)
            assert running.predict({"instances": [{"a": 3.0}]}).json()["predictions"] == [10.0]
            assert [line for line in server.log.splitlines() if "ERROR" in line or "trial" in line] == []
