"""Cached environments: built once, complete or absent, with real installers and small packages."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from predictors.environments.environment import COMPLETE_FILE, ensure_environment
from predictors.environments.installers import explanation, uv_environment
from predictors.environments.recipe import EnvironmentFailed, Recipe, recipe_for
from predictors.flavor import read_mlmodel
from predictors.pipeline.settings import Settings
from tests.serving import children, wait_for

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
UV = Settings(env_manager="uv")
QUIET: Callable[[str], None] = lambda _: None  # noqa: E731


def small(*requirements: str, manager: str = "uv", folder: Path = Path(), **changes: Any) -> Recipe:
    """A recipe with almost no packages."""
    recipe = Recipe(
        manager=manager, python=os.path.realpath(sys.executable), version=VERSION, platform=platform.machine(),
        requirements=requirements, constraints=(), overrides=(), server=("six",), files=(), folder=folder,
    )  # fmt: skip
    return replace(recipe, **changes)


def versions(folder: Path) -> dict[str, str]:
    script = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = subprocess.run([folder / "bin" / "python", "-I", "-c", script], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_it_has_the_requirements_and_is_cached(tmp_path: Path, manager: str) -> None:
    notes: list[str] = []
    environment = ensure_environment(small("six==1.16.0", manager=manager), tmp_path, notes.append)
    assert versions(environment)["six"] == "1.16.0"
    assert any(note.startswith(f"building the model's environment with {manager}") for note in notes)
    assert any("Install" in note for note in notes)
    again: list[str] = []
    assert ensure_environment(small("six==1.16.0", manager=manager), tmp_path, again.append) == environment
    assert again == []


def test_concurrent_builders_build_once(tmp_path: Path) -> None:
    notes: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        environments = list(
            pool.map(lambda _: ensure_environment(small("six==1.16.0"), tmp_path, notes.append), range(4))
        )
    assert len(set(environments)) == 1
    assert sum(note.startswith("building") for note in notes) == 1
    assert any(note.startswith("waiting for another process") for note in notes)


def build_forever(cache: Path) -> None:
    def note(text: str) -> None:
        (cache / "begun").touch()
        signal.pause()

    ensure_environment(small("six==1.16.0"), cache, note)


def test_a_killed_builder_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """It is killed while it holds the lock."""
    target = tmp_path / small("six==1.16.0").key
    builder = multiprocessing.get_context("spawn").Process(target=build_forever, args=(tmp_path,))
    builder.start()
    wait_for((tmp_path / "begun").exists)
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").write_text("half of it")
    os.kill(int(builder.pid or 0), signal.SIGKILL)
    builder.join()
    assert versions(ensure_environment(small("six==1.16.0"), tmp_path, QUIET))["six"] == "1.16.0"


def build_from(index: str, cache: Path) -> None:
    os.environ.update(UV_DEFAULT_INDEX=index, UV_NO_CACHE="1")
    ensure_environment(small("six==1.16.0"), cache, QUIET)


def test_an_installer_that_outlives_its_parent_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / f"{small('six==1.16.0').key}.lock"
    with socket.socket() as listening:  # accepts connections and never answers
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        index = f"http://127.0.0.1:{listening.getsockname()[1]}/simple"
        builder = multiprocessing.get_context("spawn").Process(target=build_from, args=(index, tmp_path))
        builder.start()
        listening.accept()  # the installer connects
        (installer,) = children(int(builder.pid or 0))
        builder.kill()
        builder.join()
        with lock.open() as file:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.kill(installer, signal.SIGKILL)
            fcntl.flock(file, fcntl.LOCK_EX)


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_a_conflict_is_explained_in_one_line_and_leaves_nothing(tmp_path: Path, manager: str) -> None:
    recipe = small("six==1.16.0", server=("six>=1.17",), manager=manager)
    with pytest.raises(EnvironmentFailed) as error:
        ensure_environment(recipe, tmp_path, QUIET)
    text = str(error.value)
    assert "\n" not in text
    assert "six==1.16.0" in text
    assert "six>=1.17" in text
    assert not (tmp_path / recipe.key).exists()


def test_a_models_version_overrides_the_servers_bounds(tmp_path: Path) -> None:
    recipe = small("six==1.16.0", server=("six>=1.17",), overrides=("six==1.16.0",))
    assert versions(ensure_environment(recipe, tmp_path, QUIET))["six"] == "1.16.0"


def test_passwords_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    notes: list[str] = []
    recipe = small("no-such-package==1", "--index-url https://user:secret@127.0.0.1:9/simple")
    with pytest.raises(EnvironmentFailed) as error:
        ensure_environment(recipe, tmp_path, notes.append)
    assert "127.0.0.1:9" in str(error.value)
    assert "secret" not in f"{error.value} {notes}"
    environment = ensure_environment(small("six==1.16.0"), tmp_path, notes.append)
    assert (environment / "model.txt").stat().st_mode & 0o077 == 0


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFailed, match=r"--env-cache .*/file/cache cannot be used: Not a directory"):
        ensure_environment(small(), tmp_path / "file" / "cache", QUIET)


def test_a_read_only_cache_serves_what_it_has(tmp_path: Path) -> None:
    environment = ensure_environment(small("six==1.16.0"), tmp_path, QUIET)
    before = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / f"{environment.name}.lock").unlink()
    assert ensure_environment(small("six==1.16.0"), tmp_path, QUIET) == environment
    assert sorted(path.name for path in tmp_path.iterdir()) == [name for name in before if not name.endswith(".lock")]


def test_an_installers_message_about_a_full_disk_is_shown() -> None:
    output = [
        "Resolved 2 packages in 1ms",
        "error: Failed to install: six",
        "  Caused by: No space left on device (os error 28)",
    ]
    assert explanation(output) == "error: Failed to install: six Caused by: No space left on device (os error 28)"


def test_pips_variables_are_translated_for_uv() -> None:
    translated = uv_environment(
        {"PIP_INDEX_URL": "https://a/simple", "PIP_FIND_LINKS": "/a /b", "PIP_EXTRA_INDEX_URL": "x", "UV_INDEX": "y"}
    )
    assert translated == {"UV_DEFAULT_INDEX": "https://a/simple", "UV_FIND_LINKS": "/a,/b"}


# -- recipes -------------------------------------------------------------------------------------------------------


def saved(folder: Path, *requirements: str, python: str = sys.version.split()[0]) -> Path:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    mlflow.sklearn.save_model(LinearRegression().fit([[1.0]], [1.0]), folder, pip_requirements=list(requirements))
    (folder / "python_env.yaml").write_text(f"python: {python}\n")
    return folder


def recipe_of(folder: Path, settings: Settings = UV) -> Recipe:
    return recipe_for(read_mlmodel(folder), settings)


def test_the_name_of_an_environment_is_its_content(tmp_path: Path) -> None:
    first = recipe_of(saved(tmp_path / "a", "numpy==2.3.5", "psutil==7.0.0"))
    assert recipe_of(saved(tmp_path / "b", "numpy==2.3.5", "psutil==7.0.0")).key == first.key
    assert recipe_of(saved(tmp_path / "c", "numpy==2.3.4", "psutil==7.0.0")).key != first.key
    assert recipe_of(tmp_path / "a", Settings(env_manager="virtualenv")).key != first.key
    assert any(line.startswith("kserve") for line in first.server)
    assert any(line.startswith("scikit-learn") for line in first.server), "the extra of its flavor"
    assert not any(line.startswith(("xgboost", "pytest", "mlflow-kserve")) for line in first.server)
    assert first.overrides == ("psutil==7.0.0",)


@pytest.mark.parametrize(
    ("asked", "installed"),
    [
        ("mlflow==3.17.2", ["mlflow-skinny==3.17.2"]),
        ("mlflow>=3.11", ["mlflow-skinny>=3.11"]),
        ("mlflow==2.9.1", []),
        ("mlflow-skinny==2.9.1", []),
        ("mlflow[genai]==3.17.2", ["mlflow[genai]==3.17.2"]),
        ("mlflow-kserve==9", []),
    ],
)
def test_mlflow_is_the_servers_own(tmp_path: Path, asked: str, installed: list[str]) -> None:
    folder = saved(tmp_path / "model")
    (folder / "requirements.txt").write_text(asked)
    assert list(recipe_of(folder).requirements) == installed


def test_a_wheel_in_the_model_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    wheel = folder / "wheels" / "carried-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("carried.py", "VALUE = 7\n")
        archive.writestr("carried-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
        archive.writestr(
            "carried-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("carried-1.0.dist-info/RECORD", "")
    (folder / "requirements.txt").write_text("wheels/carried-1.0-py3-none-any.whl\n")
    recipe = replace(recipe_of(folder), server=())
    assert versions(ensure_environment(recipe, tmp_path / "cache", QUIET))["carried"] == "1.0"
    moved = shutil.move(folder, tmp_path / "elsewhere")
    assert replace(recipe_of(Path(moved)), server=()).key == recipe.key
    with wheel_of(Path(moved)).open("ab") as changed:
        changed.write(b"x")
    assert replace(recipe_of(Path(moved)), server=()).key != recipe.key


def wheel_of(folder: Path) -> Path:
    return next((folder / "wheels").iterdir())


@pytest.mark.parametrize(("python", "why"), [("3.8.10", "is older than 3.11"), ("3.98.1", "is not installed")])
def test_a_missing_python(tmp_path: Path, python: str, why: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = saved(tmp_path / "model", python=python)
    assert recipe_of(folder).version == VERSION
    assert why in caplog.text
    with pytest.raises(
        EnvironmentFailed, match=f"--dependencies=strict: python: the model requires {python}, which {why}"
    ):
        recipe_of(folder, replace(UV, dependencies="strict"))


def test_the_mark_holds_the_recipe(tmp_path: Path) -> None:
    environment = ensure_environment(small("six==1.16.0"), tmp_path, QUIET)
    assert json.loads((environment / COMPLETE_FILE).read_text())["requirements"] == ["six==1.16.0"]
