"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before any framework is imported: quiet, and no threads that fight over two cores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import hypothesis
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.zoo import BY_ID

# Hundreds of processes import the same modules: they are compiled once, also where an image says not to.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine is no finding.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-docs", action="store_true", help="write the pages of docs/ that are made from tests")
    parser.addoption("--crds", type=Path, help="a folder with KServe's CRDs to hold the manifests against")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The conformance suite needs a server to ask, images need minutes: they run when their folder is named."""
    name = collection_path.name
    unasked = not any(name in argument for argument in config.args)
    return True if name in ("conformance", "images") and unasked else None


LONGEST = (
    "predictors/reload/", "predictors/serving/", "predictors/features/", "monitoring/test_prometheus.py",
    "predictors/storage/test_storage.py", "test_conformance.py", "predictors/drift/", "predictors/test_flavors.py",
    "predictors/prediction_log/", "predictors/runtime/", "predictors/test_parity.py", "loadtest/",
)  # fmt: skip
"""These begin first, so that no process is left alone with one of them at the end."""
TOGETHER = ("predictors/features/",)
"""The files of a folder that share what takes long to set up."""


class ByFile(LoadScopeScheduling):
    """Each file stays in one process, which sets up what its tests share."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if folder in file), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False  # the order is that of below
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((i for i, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST)))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A saved model of the zoo by its id; each is built once in a test process."""
    folder = tmp_path_factory.mktemp("zoo")

    def saved(case_id: str) -> Path:
        target = folder / case_id
        if not target.exists():
            BY_ID[case_id].build(target)
        return target

    return saved
