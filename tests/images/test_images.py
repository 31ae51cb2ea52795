"""The images as they are built: what is in them, and that they serve models that the storage image fetched."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from predictors.flavor import BY_NAME
from tests.images.containers import TMP, Container, Containers
from tests.images.needed import MODELS
from tests.predictors.parity import WAYS, assert_same, own_answer, ways_of
from tests.registry import register
from tests.zoo import ZooModel
from tools.images import pip_settings

NOT_IN_THEM = {"/invocations Parquet"}  # pyarrow is larger than the rest of most images
TOOLS = {"gcc", "cc", "c++", "g++", "clang", "tcc", "as", "ld", "make", "cmake", "protoc", "rustc", "go"}
OPENSHIFT = ("--user=1000720000:0",)


@pytest.fixture(scope="session")
def fetched(
    containers: Containers, images: dict[str, str], tracking: str, zoo: Callable[[str], Path], volumes: Any
) -> Callable[[str], Path]:
    """A model of the zoo on a volume, put there by the storage image from the registry."""
    done: dict[str, Path] = {}

    def fetch(model: str) -> Path:
        if model not in done:
            register(tracking, zoo(model), model, "champion")
            volume = volumes(model)
            options = [*TMP, f"--volume={volume}:/mnt/models", f"--env=MLFLOW_TRACKING_URI={tracking}"]
            storage = containers.run(images["storage"], f"models:/{model}@champion", "/mnt/models", options=options)
            assert storage.returncode == 0, storage.stderr
            done[model] = volume
        return done[model]

    return fetch


@pytest.fixture(scope="session")
def container(
    containers: Containers, images: dict[str, str], family: str, fetched: Callable[[str], Path]
) -> Iterator[Container]:
    """An image of each family, at work."""
    with containers.serving(images[family], fetched(MODELS[family][0])) as started:
        yield started


def test_a_registered_model_is_fetched_and_served(
    containers: Containers, images: dict[str, str], served: ZooModel, zoo: Callable[[str], Path], fetched: Any
) -> None:
    expected = own_answer(served, zoo(served.id))
    sample = served.sample()
    with containers.serving(images[BY_NAME[served.flavor].image], fetched(served.id)) as container:
        for way in set(ways_of(served)) - NOT_IN_THEM:
            assert_same(WAYS[way](container.running, sample), expected, f"{served.id} over {way}")
        assert "a critical dependency differs" not in container.log


def test_the_storage_image_removes_nothing_without_asking_a_cluster(
    containers: Containers,
    images: dict[str, str],
    tracking: str,
    fetched: Callable[[str], Path],
    family: str,
    volumes: Any,
) -> None:
    """Through the cache; and the clean-up in the same image finds no cluster to ask, so everything stays."""
    model = MODELS[family][0]
    fetched(model)  # it is registered then
    cache, volume = volumes("cache"), volumes("again")
    kept = (*TMP, f"--volume={cache}:/model-cache")
    options = (
        *kept,
        f"--volume={volume}:/mnt/models",
        f"--env=MLFLOW_TRACKING_URI={tracking}",
        "--env=STORAGE_STRATEGY=pvc",
    )
    storage = containers.run(images["storage"], f"models:/{model}@champion", "/mnt/models", options=options)
    assert storage.returncode == 0, storage.stderr
    assert (volume / "MLmodel").is_file()
    before = sorted(path.name for path in cache.rglob("*"))
    cleanup = ("-m", "predictors.cleanup", "--namespace", "models", "--ttl-days", "0")
    done = containers.run(images["storage"], *cleanup, options=(*kept, "--entrypoint=python"))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "MLmodel" in before
    assert set(before) <= {path.name for path in cache.rglob("*")}


def test_it_is_healthy_by_its_own_check(
    container: Container, containers: Containers, images: dict[str, str], family: str
) -> None:
    kind, *check = containers.config(images[family])["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert container.execute(*check).returncode == 0


def test_a_server_that_is_not_ready_is_not_healthy(containers: Containers, images: dict[str, str], family: str) -> None:
    check = ("--entrypoint=python",)
    done = containers.run(images[family], "-m", "predictors.healthcheck", options=[*TMP, *check])
    assert done.returncode == 1
    assert "refused" in done.stderr


def test_nobody_in_particular_runs_it(container: Container) -> None:
    assert container.execute("id", "-u").stdout.strip() == "65532"
    assert container.execute("touch", "/srv/x").returncode != 0
    status = container.execute("cat", "/proc/1/status").stdout
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_a_signal_ends_it_well_and_soon(
    containers: Containers, images: dict[str, str], family: str, fetched: Callable[[str], Path]
) -> None:
    with containers.serving(images[family], fetched(MODELS[family][0])) as container:
        begun = time.monotonic()
        assert container.terminate() == 0, container.log
        assert time.monotonic() - begun < 10


def test_any_user_may_run_it(
    containers: Containers, images: dict[str, str], family: str, fetched: Callable[[str], Path]
) -> None:
    with containers.serving(images[family], fetched(MODELS[family][0]), options=[*TMP, *OPENSHIFT]) as container:
        assert container.execute("id", "-u").stdout.strip() == "1000720000"


def test_without_a_place_for_temporary_files_it_says_so(
    containers: Containers, images: dict[str, str], family: str
) -> None:
    done = containers.run(images[family], options=())
    assert done.returncode == 2
    assert "no temporary folder is writable: mount a volume at /tmp, or name one in TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_share_the_model(
    containers: Containers, images: dict[str, str], family: str, fetched: Callable[[str], Path]
) -> None:
    with containers.serving(images[family], fetched(MODELS[family][0]), "--workers", "2") as container:
        assert container.running.get("/v2/models/model").status_code == 200


def test_what_is_said_of_it(containers: Containers, images: dict[str, str], name: str, base: str) -> None:
    config = containers.config(images[name])
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == f"mlflow-kserve {name}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == base
    assert labels["version"] == "0.1.0"
    assert len(labels["revision"]) == 40
    assert config["User"] == "65532:65532"
    assert config["StopSignal"] in ("SIGTERM", "15")
    if name == "storage":
        assert config["Entrypoint"] == ["python", "-m", "predictors.storage"]
    else:
        assert config["Entrypoint"] == ["python", "-m", "predictors.mlflow"]
        assert set(config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}


def content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is no file"
    return file.read()


class Layers:
    """The files that a build added to its base, and the whole of what is said of it."""

    def __init__(self, containers: Containers, image: str, base: str, folder: Path) -> None:
        self.archive = folder / "image.tar"
        containers.output("save", "--output", str(self.archive), image)
        depth = len(json.loads(containers.output("image", "inspect", base))[0]["RootFS"]["Layers"])
        with tarfile.open(self.archive) as archive:
            (manifest,) = json.loads(content(archive, "manifest.json"))
            self.config = content(archive, manifest["Config"]).decode()
            self.layers = [content(archive, layer) for layer in manifest["Layers"][depth:]]
        self.names = [
            member.name.lstrip("./")
            for layer in self.layers
            for member in tarfile.open(fileobj=io.BytesIO(layer))  # noqa: SIM115
            if not member.isdir()
        ]


@pytest.fixture(scope="session")
def layers(
    containers: Containers, images: dict[str, str], base: str, name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Layers]:
    image_layers = Layers(containers, images[name], base, tmp_path_factory.mktemp(name))
    yield image_layers
    image_layers.archive.unlink()


def test_nothing_that_builds_is_left(layers: Layers, containers: Containers, images: dict[str, str]) -> None:
    files = [Path(name) for name in layers.names]
    assert not [file for file in files if file.suffix in (".h", ".hpp", ".a")]
    assert not [file for file in files if file.name in TOOLS | {"pip", "pip3"}]
    assert not [file for file in files if "pip" in file.parts]


def test_no_compiler_is_found(containers: Containers, images: dict[str, str], name: str) -> None:
    script = f"import shutil; print([tool for tool in {sorted(TOOLS)} if shutil.which(tool)])"
    completed = containers.run(images[name], "-c", script, options=(*TMP, "--entrypoint=python"))
    assert completed.stdout.strip() == "[]", completed.stderr


def test_the_build_leaves_no_secrets(layers: Layers) -> None:
    """Neither where packages came from nor what the build trusted stays anywhere."""
    allowed = ("opt/venv/", "usr/lib/x86_64-linux-gnu/libgomp.so.1")
    assert [name for name in layers.names if not name.startswith(allowed)] == []
    settings = pip_settings()
    secrets = [
        word
        for key in ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "cert")
        for word in settings.get(key, "").split()
        if len(word) > 8 and "pypi.org" not in word
    ]
    for secret in secrets:
        assert secret not in layers.config
        if not secret.startswith("/etc/ssl"):  # Debian's own place, which libraries know
            assert not any(secret.encode() in layer for layer in layers.layers)


def test_packages_can_be_added(containers: Containers, images: dict[str, str], family: str, tmp_path: Path) -> None:
    """As docs/images.md says, with a package that lies in the folder."""
    wheels = tmp_path / "wheels"
    package = tmp_path / "package"
    package.mkdir()
    (package / "more.py").write_text("VALUE = 42\n")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "more"\nversion = "1"\n'
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(package)],
        check=True,
        capture_output=True,
    )
    page = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
    recipe = page.partition("```dockerfile\n")[2].partition("```")[0]
    recipe = recipe.replace("mlflow-kserve/predictor-sklearn:latest", images[family])
    recipe = recipe.replace("lifelines", "--no-index --find-links /wheels more")
    recipe = recipe.replace("RUN ", "COPY wheels /wheels\nRUN ", 1)
    (tmp_path / "Dockerfile").write_text(recipe)
    image = f"{images[family]}-more"
    subprocess.run([*containers.engine.build, "--tag", image, str(tmp_path)], check=True, capture_output=True)
    done = containers.run(image, "-c", "import more; print(more.VALUE)", options=(*TMP, "--entrypoint=python"))
    assert done.stdout.strip() == "42", done.stderr
    assert containers.config(image)["User"] == "65532:65532"
    containers.output("rmi", image)
