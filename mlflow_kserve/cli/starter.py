"""A starter repository for a serve: a model to train, and what deploys it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

DEPLOY_FILE = "deploy.yaml"
DEFAULTS: Mapping[str, Any] = {
    "name": "my-model",
    "space": "",
    "description": "",
    "github_repo_url": "",
    "branch": "main",
    "cores": 2,
    "memory": 4,
}
FILES = {
    DEPLOY_FILE: """\
# What the commands of mlflow-kserve take from here if it is not said: see README.md.
serve: {name: $name, type: api, space: "$space", description: "$description"}
artifact: {github_repo_url: "$github_repo_url", branch: $branch, path: model}
environments:
  local:
    infra: {cores: $cores, memory: $memory, min_replicas: 1, max_replicas: 1}
    deployment: {deployment_strategy: rolling, environment_variables: {}}
""",
    "train.py": '''\
"""Trains the model and saves it in the folder `model`. Replace the data and the estimator by your own."""

import shutil

import mlflow
import pandas as pd
from sklearn.linear_model import LogisticRegression

data = pd.DataFrame({"temperature": [64.2, 70.1, 91.5, 88.0], "vibration": [0.21, 0.3, 1.05, 0.9]})
fails = [0, 0, 1, 1]

model = LogisticRegression().fit(data, fails)
shutil.rmtree("model", ignore_errors=True)
mlflow.sklearn.save_model(model, "model", input_example=data, pip_requirements="requirements.txt")
''',
    "requirements.txt": "mlflow\npandas\nscikit-learn\nskops\n",
    ".gitignore": ".venv/\n__pycache__/\n",
    "README.md": """\
# $name

    pip install -r requirements.txt 'mlflow-kserve[sklearn]'
    python train.py                                     # writes the folder model/
    mlflow-kserve serve --model-uri model               # tries it here, on port 8080

Commit the folder `model/` with the rest, push it, name the repository in `$deploy_file`, and deploy it:

    mlflow-kserve create-serve
    mlflow-kserve create-serve-config --env local
    mlflow-kserve create-artifact --version v1 --wait
    mlflow-kserve deploy-artifact --artifact-version v1 --env local --wait

Or deploy the folder of this machine as it is:

    mlflow-kserve deploy-model --serve-name $name --model-uri "$$PWD/model" --wait
""",
}


class TargetExists(Exception):
    """A file that would be overwritten; the message names it."""


def write(folder: Path, values: Mapping[str, Any], template: Path | None = None) -> list[Path]:
    """Writes the files of a new folder; raises TargetExists if one is there already."""
    texts = dict(files_of(template)) if template else FILES
    said = {**DEFAULTS, **values, "deploy_file": DEPLOY_FILE}
    targets = {folder / Template(name).safe_substitute(said): text for name, text in texts.items()}
    for target in targets:
        if target.exists():
            raise TargetExists(f"{target} is there already: expected another folder in --output")
    for target, text in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).safe_substitute(said))
    return list(targets)


def files_of(template: Path) -> Iterator[tuple[str, str]]:
    """The files of a template of one's own; $$name and so on stand for values."""
    for file in sorted(template.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(template)), file.read_text()
