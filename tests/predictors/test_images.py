"""What images are built from: names, lock files, and the engine that builds them."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from predictors.flavor import FAMILIES, FLAVORS, STORAGE, Flavor, image_of, storage_image
from tools import image_locks
from tools.images import CONTROLPLANE, IMAGES, NAMES, BuildError, engine, image_name, image_names

REQUIREMENTS = IMAGES / "requirements"
PINNED = re.compile(r"^([\w.-]+)==(\S+?)(?:\+cpu)?(?: |$)", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    return {
        canonicalize_name(one): version for one, version in PINNED.findall((REQUIREMENTS / f"{name}.txt").read_text())
    }


def required(family: str) -> list[Requirement]:
    """What the project and its extras for the family ask for."""
    project = tomllib.loads((IMAGES.parents[1] / "pyproject.toml").read_text())["project"]
    waiting = [*project["dependencies"], f"mlflow-kserve[{','.join(image_locks.extras_of(family))}]"]
    requirements = []
    while waiting:
        one = Requirement(waiting.pop())
        if one.name == "mlflow-kserve":
            waiting += [line for extra in one.extras for line in project["optional-dependencies"][extra]]
        elif one.marker is None or one.marker.evaluate({"platform_machine": "x86_64"}):
            requirements.append(one)
    return requirements


@pytest.mark.parametrize("flavor", FLAVORS, ids=lambda flavor: flavor.name)
def test_a_flavor_is_built_into_the_image_that_serves_it(flavor: Flavor) -> None:
    [name] = image_names(flavor.name)
    assert image_name(name, "example.org/ml", "1") == image_of(flavor.name, registry="example.org/ml", tag="1")


def test_all_images_are_built_if_none_is_named() -> None:
    assert image_names("") == [*FAMILIES, STORAGE, CONTROLPLANE]
    assert image_name(CONTROLPLANE, "example.org/ml", "1") == "example.org/ml/controlplane:1"
    assert image_names("lightgbm,storage xgboost") == ["boosting", "storage"]
    assert image_name(STORAGE, "example.org/ml", "1") == storage_image(registry="example.org/ml", tag="1")


def test_an_unknown_image_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BuildError, match="no image or flavor sklaern, only boosting, catboost, .*storage"):
        image_names("sklaern")


@pytest.mark.parametrize("name", NAMES)
def test_images_hold_the_versions_that_are_tested(name: str) -> None:
    tested: dict[str, str] = {canonicalize_name(one): version for one, version in image_locks.constraints().items()}
    for stand_in, original in image_locks.STANDS_IN.get(name, {}).items():
        tested[stand_in] = tested[original]
    versions = locked(name)
    assert versions
    assert {one: version for one, version in versions.items() if tested.get(one, version) != version} == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_images_hold_what_their_flavors_need(family: str) -> None:
    excluded = {line for line in image_locks.EXCLUDED.read_text().splitlines() if not line.startswith("#")}
    stand_ins = {original: name for name, original in image_locks.STANDS_IN.get(family, {}).items()}
    versions = locked(family)
    for requirement in required(family):
        name = canonicalize_name(requirement.name)
        assert stand_ins.get(name, name) in versions, f"{name}: run make image-locks"
        assert requirement.specifier.contains(versions[stand_ins.get(name, name)]), f"{name}: run make image-locks"
    assert not excluded & set(versions)


@pytest.mark.parametrize("file", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda file: file.name)
def test_lock_files_have_hashes_and_no_addresses(file: Path) -> None:
    text = file.read_text()
    lines = [line for line in text.replace("\\\n", "").splitlines() if "==" in line]
    assert all("--hash=sha256:" in line for line in lines)
    assert "://" not in "".join(lines)
    assert not re.search(r"^(nvidia|cuda|triton)", text, re.MULTILINE)


def program(folder: Path, name: str, status: int) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\nexit {status}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_a_client_without_its_engine_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="none of docker, podman, buildah is here and answers"):
        engine()
    program(tmp_path, "docker", 1)
    program(tmp_path, "buildah", 0)
    assert engine().name == "buildah"
    program(tmp_path, "podman", 0)
    assert engine().name == "podman"
