"""Fixtures that all tests share."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before any framework is imported: quiet, and no threads that fight over two cores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import httpx
import hypothesis
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from predictors.uris import DEFAULT_STORES
from tests.spawner import TrialsForked
from tests.zoo import BY_ID

# Hundreds of processes import the same modules: they are compiled once, also where an image says not to.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# PyTorch imports Triton where it is installed, and after TensorFlow that ends the process. Only GPUs need it.
sys.modules["triton"] = None  # type: ignore[assignment]  # Python lets None forbid an import

# kserve would parse pytest's options when it is imported, and has other flags.
sys.argv = sys.argv[:1]

# A busy machine is no finding. Where CI is set, this profile stands on Hypothesis's own for CI: the same examples in each run.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


ON_REQUEST = [Path(__file__).parent / name for name in ("cluster", "conformance", "images")]
"""Folders that need a server to ask, a cluster, or minutes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-docs", action="store_true", help="write the pages of docs/ that are made from tests")
    parser.addoption("--crds", type=Path, help="a folder with KServe's CRDs to hold the manifests against")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is slow or needs more than this machine runs when its folder is named."""
    if collection_path not in ON_REQUEST:
        return None
    named = (config.invocation_params.dir / argument.partition("::")[0] for argument in config.args)
    return None if any(path.resolve().is_relative_to(collection_path) for path in named) else True


FEAST = ("tests/predictors/features/",)
FRAMEWORKS = (
    "tests/attack/test_truncated_models.py", "tests/predictors/rest/test_pages.py", "tests/predictors/safety/",
    "tests/predictors/test_flavors.py", "tests/predictors/test_needs.py", "tests/predictors/test_parity.py",
)  # fmt: skip
TOGETHER = (FEAST, FRAMEWORKS)
"""Files and folders that share what takes long to set up: servers of Feast; TensorFlow, PyTorch and all the others."""
STARTS = re.compile(r"\b(?:process|mlflow_server|in_thread|Popen|subprocess\.run)\(")
SECONDS_IF_SLOW = 10
DURATIONS = "suite/durations"


def group_of(nodeid: str) -> str:
    """The tests that run in one process, which sets up what they share: those of a file, or of several."""
    return next((group[0] for group in TOGETHER if nodeid.startswith(group)), nodeid.partition("::")[0])


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    config.option.loadscopereorder = False  # the order is that of below
    return ByGroup(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest groups begin first, so that no process is left alone with one of them at the end."""
    cache = getattr(config, "cache", None)  # there is none with `-p no:cacheprovider`
    last_run: dict[str, float] = (cache and cache.get(DURATIONS, None)) or {}
    expected: dict[str, float] = defaultdict(float)
    for file, path in {item.nodeid.partition("::")[0]: item.path for item in items}.items():
        expected[group_of(file)] += len(STARTS.findall(path.read_text()))
    for item in items:
        expected[group_of(item.nodeid)] += SECONDS_IF_SLOW * bool(item.get_closest_marker("slow"))
    expected |= last_run
    items.sort(key=lambda item: -expected[group_of(item.nodeid)])


class DurationsOfGroups:
    """Keeps what each group took for the next run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[group_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        cache = getattr(self.config, "cache", None)
        if cache is not None:
            known = cache.get(DURATIONS, None) or {}
            cache.set(DURATIONS, known | {name: round(took, 1) for name, took in self.seconds.items()})


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(DurationsOfGroups(config))


@pytest.fixture(scope="session", autouse=True)
def no_store_of_mlflow() -> Iterator[None]:
    """Neither the product nor a test begins a store of MLflow's in the folder of the repository."""
    stores = [Path(name).absolute() for name in DEFAULT_STORES if not Path(name).exists()]
    yield
    assert [str(store) for store in stores if store.exists()] == []


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of a run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def one_context() -> Iterator[None]:
    """Each client of httpx would read the certificates of all authorities, for 25 ms, though it asks loopback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", functools.cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def trials_forked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", TrialsForked)
        yield


@pytest.fixture(scope="session")
def zoo(run_folder: Path) -> Callable[[str], Path]:
    """A saved model of the zoo by its id; each is built once in a run, by the process that first asks for it."""
    folder = run_folder / "zoo"
    unfinished = folder / "unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)

    def saved(case_id: str) -> Path:
        target = folder / case_id
        with (unfinished / f"{case_id}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                BY_ID[case_id].build(unfinished / case_id)
                (unfinished / case_id).rename(target)
        return target

    return saved
