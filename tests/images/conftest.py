"""Builds the images that are asked for, on the base that is asked for or on one of Debian's own packages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictors.flavor import STORAGE
from tests.images.containers import Containers
from tests.images.needed import MODELS
from tests.registry import mlflow_server
from tests.zoo import BY_ID
from tools.images import CONTROLPLANE, IMAGES, engine, image_name, image_names

REGISTRY = "localhost/mlflow-kserve-test"
DEBIAN = "localhost/mlflow-kserve/base:3.11"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("images", "Images, built and run")
    group.addoption("--flavors", default="sklearn,boosting", help="flavors or families, separated by commas")
    group.addoption("--base", help=f"the base image; {DEBIAN}, which is made if it is not there, if none is named")


def asked(config: pytest.Config) -> list[str]:
    names = image_names(config.getoption("--flavors", default="sklearn"))
    return [name for name in names if name not in (STORAGE, CONTROLPLANE)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    families = asked(metafunc.config)
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", families, scope="session")
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [*families, STORAGE] if families else [], scope="session")
    if "served" in metafunc.fixturenames:
        metafunc.parametrize("served", [BY_ID[model] for one in families for model in MODELS[one]], ids=lambda x: x.id)


@pytest.fixture(scope="session")
def containers() -> Containers:
    container_engine = engine()
    if container_engine.name == "buildah":
        pytest.fail("buildah only builds: docker or podman is needed to run the images")
    return Containers(container_engine)


@pytest.fixture(scope="session")
def base(containers: Containers, request: pytest.FixtureRequest) -> str:
    named = request.config.getoption("--base")
    if named:
        return str(named)
    if subprocess.run(containers.command("image", "inspect", DEBIAN), capture_output=True).returncode:
        subprocess.run([str(IMAGES / "debian-base.sh"), DEBIAN], check=True, stdout=subprocess.DEVNULL)
    return DEBIAN


@pytest.fixture(scope="session")
def images(base: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The images by family, as `make images` builds them."""
    return built([*asked(request.config), STORAGE], base)


@pytest.fixture(scope="session")
def controlplane(base: str, request: pytest.FixtureRequest) -> str:
    """The image of the control plane, for those who name it."""
    if CONTROLPLANE not in image_names(request.config.getoption("--flavors")):
        pytest.skip(f"needs --flavors {CONTROLPLANE}")
    return built([CONTROLPLANE], base)[CONTROLPLANE]


def built(names: list[str], base: str) -> dict[str, str]:
    build = [sys.executable, "-m", "tools.images", "--flavor", ",".join(names), "--registry", REGISTRY, "--base", base]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    sizes = [line for line in done.stdout.splitlines() if line.startswith(REGISTRY)]
    assert len(sizes) == len(names), "the build prints the size of each"
    print("\n".join(sizes))
    return {name: image_name(name, REGISTRY, "latest") for name in names}


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with a registry."""
    with mlflow_server(tmp_path_factory.mktemp("tracking")) as uri:
        yield uri


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes folders that containers of any user may write to, like an emptyDir."""

    def volume(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        folder.chmod(0o777)
        return folder

    return volume
