"""Builds the images of predictors/images and of the control plane with docker, podman or buildah: `make images`.

pip inside the build is told what pip here is told: indexes and certificates go in as secrets of the build, which stay
in no layer.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from predictors.flavor import BY_NAME, FAMILIES, IMAGE_REGISTRY, STORAGE, family_image, storage_image

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "predictors" / "images"
DOCKERFILE = IMAGES / "Dockerfile"
TORCH = IMAGES / "requirements" / "torch-cpu.txt"
PAGE = ROOT / "docs" / "images.md"
NAMES = (*FAMILIES, STORAGE)
CONTROLPLANE = "controlplane"
CONTROLPLANE_DOCKERFILE = ROOT / "charts" / "Dockerfile"
PIP_OPTIONS = (
    "index-url",
    "extra-index-url",
    "no-index",
    "trusted-host",
    "timeout",
    "default-timeout",
    "retries",
    "proxy",
)
CERTIFICATES = "/run/secrets/ca.crt"
NO_TORCH = (
    "the CPU build of PyTorch is not on pip's indexes: "
    "set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds, or PIP_FIND_LINKS to a folder that has it"
)


class BuildError(Exception):
    """The images cannot be built; the message is one line."""


@dataclass(frozen=True)
class ImageBuilder:
    """What builds images here."""

    name: str
    build: tuple[str, ...]

    def size(self, image: str) -> int:
        """Bytes of an image with all its layers."""
        if self.name == "buildah":
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder, "image.tar")
                run(["buildah", "push", "--quiet", image, f"oci-archive:{archive}"])
                return archive.stat().st_size
        return int(output([self.name, "image", "inspect", "--format", "{{.Size}}", image]))


# In a container, the isolation that engines have of their own is seldom allowed.
ENGINES = (
    ImageBuilder("docker", ("docker", "build")),
    ImageBuilder("podman", ("podman", "build", "--isolation", "chroot", "--network", "host", "--format", "docker")),
    ImageBuilder("buildah", ("buildah", "bud", "--isolation", "chroot", "--network", "host", "--format", "docker")),
)


def engine() -> ImageBuilder:
    """The first that is there and answers: a client without its daemon builds nothing."""
    for one in ENGINES:
        if shutil.which(one.name) and not subprocess.run([one.name, "info"], capture_output=True).returncode:
            return one
    raise BuildError(f"none of {', '.join(one.name for one in ENGINES)} is here and answers")


def image_name(name: str, registry: str, tag: str) -> str:
    if name == STORAGE:
        return storage_image(registry=registry, tag=tag)
    if name == CONTROLPLANE:
        return f"{registry}/{CONTROLPLANE}:{tag}"
    return family_image(name, registry=registry, tag=tag)


def image_names(text: str) -> list[str]:
    """Images by name or by flavor; all of them if the text is empty."""
    names = [BY_NAME[name].image if name in BY_NAME else name for name in text.replace(",", " ").split()]
    for name in names:
        if name not in (*NAMES, CONTROLPLANE):
            known = sorted({*NAMES, CONTROLPLANE, *BY_NAME})
            raise BuildError(f"there is no image or flavor {name}, only {', '.join(known)}")
    return list(dict.fromkeys(names)) or [*NAMES, CONTROLPLANE]


@contextmanager
def pip_secrets() -> Iterator[list[str]]:
    """Flags that pass on what pip is told here."""
    settings = pip_settings()
    certificates = settings.pop("cert", None)
    lines = [f"{key} = {' '.join(value.split())}" for key, value in settings.items() if key in PIP_OPTIONS]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pip.conf")
        flags = ["--secret", f"id=pip.conf,src={file}"]
        if certificates:
            lines.append(f"cert = {CERTIFICATES}")
            flags += ["--secret", f"id=ca.crt,src={certificates}"]
        file.write_text("\n".join(["[global]", *lines, ""]))
        yield flags


def pip_settings() -> dict[str, str]:
    """pip's settings from all of its files and from the environment, which wins."""
    settings = {}
    for line in output([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    return settings


def fetch_torch(python: str) -> None:
    """Gets the CPU build of PyTorch by the ways that pip knows here: the build has no folders of this machine."""
    version = f"cp{python.replace('.', '')}"
    if any(f"-{version}-" in file.name for file in (IMAGES / "wheels").glob("torch-*.whl")):
        return
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--python-version", python, "--platform", "manylinux_2_28_x86_64", "--implementation", "cp"),
            *("--dest", str(IMAGES / "wheels"), "--requirement", str(TORCH)),
        ],
        capture_output=True,
    )
    if done.returncode:
        raise BuildError(NO_TORCH)


def build(builder: ImageBuilder, name: str, image: str, python: str, base: str | None, more: Sequence[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    arguments = {
        "PYTHON": python,
        "VERSION": project["version"],
        "REVISION": output(["git", "-C", str(ROOT), "rev-parse", "HEAD"]).strip(),
        **({"BASE": base} if base else {}),
    }
    if name == CONTROLPLANE:
        file, target = CONTROLPLANE_DOCKERFILE, []
    else:
        file, target = DOCKERFILE, ["--target", STORAGE if name == STORAGE else "predictor"]
        arguments["FAMILY"] = name
        if re.search(r"^torch==", (IMAGES / "requirements" / f"{name}.txt").read_text(), re.MULTILINE):
            fetch_torch(python)
    with pip_secrets() as secrets:
        run(
            [
                *builder.build,
                *("--file", str(file), "--tag", image, *target),
                *(word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")),
                *secrets,
                *more,
                str(ROOT),
            ]
        )


def run(command: Sequence[str]) -> None:
    """Runs a command with its output on the terminal."""
    done = subprocess.run(command, env={**os.environ, "DOCKER_BUILDKIT": "1"})
    if done.returncode:
        raise BuildError(f"{' '.join(command[:2])} ended with status {done.returncode}")


def output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_sizes(sizes: dict[str, int]) -> None:
    """Writes sizes into the table of the page, which has a row for each image."""
    text = PAGE.read_text()
    for name, size in sizes.items():
        text, replaced = re.subn(rf"(?m)^(\| `{name}` \|.*\| )[^|]*( \|)$", rf"\g<1>{megabytes(size)}\g<2>", text)
        if not replaced:
            raise BuildError(f"{PAGE.name} has no row for {name}")
    PAGE.write_text(text)


def megabytes(size: int) -> str:
    return f"{round(size / 1e6)} MB"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=__doc__)
    parser.add_argument("--flavor", default="", help="flavors or images, separated by commas [default: all]")
    parser.add_argument("--registry", default=IMAGE_REGISTRY, help="registry of the images")
    parser.add_argument("--tag", default="latest")
    parser.add_argument("--python", default="3.11", choices=("3.11", "3.12"))
    parser.add_argument("--base", help="another base image, with that Python and venv")
    parser.add_argument("--write-sizes", action="store_true", help=f"write the sizes to docs/{PAGE.name}")
    parser.add_argument("more", nargs="*", help="more flags for the engine, after --")
    options = parser.parse_args(argv)
    builder = engine()
    sizes = {}
    for name in image_names(options.flavor):
        image = image_name(name, options.registry, options.tag)
        build(builder, name, image, options.python, options.base, options.more)
        sizes[name] = builder.size(image)
        print(f"{image}: {megabytes(sizes[name])}", flush=True)
    if options.write_sizes:
        write_sizes(sizes)


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        raise SystemExit(f"images: {error}") from None
