"""Our images: built as `make images` builds them, and handed to containerd."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from tests.cluster.parts.node import SOCKET
from tests.cluster.parts.places import CACHE, IMAGE_STORE, REGISTRY, ROOT, TAG
from tests.cluster.parts.programs import BuildFailed
from tools.images import IMAGES, engine, image_name

BASE = "localhost/mlflow-kserve/base:3.11"
CONTENTS = ("pyproject.toml", "README.md", "LICENSE", "predictors", "mlflow_kserve")
"""What images are made of."""
BUILT = CACHE / "images"
"""For each image, what it was made of."""
HANDED_OVER = IMAGE_STORE / "handed-over"


def build(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Builds images on a base of Debian's packages, so that no registry is needed."""
    builder, contents = engine().name, _contents()
    names = [name for name in names if not _is_built(builder, name, contents)]
    if not names:
        return
    if not _exists(builder, BASE):
        say("making the base image of Debian's packages, about 1 min")
        _run([str(IMAGES / "debian-base.sh"), BASE])
    say(f"building the images {', '.join(names)}, about 5 min each the first time")
    flags = ["--flavor", ",".join(names), "--registry", REGISTRY, "--tag", TAG, "--base", BASE]
    _run([sys.executable, "-m", "tools.images", *flags])
    BUILT.mkdir(exist_ok=True)
    for name in names:
        (BUILT / name).write_text(contents)


def hand_over(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Gives images to containerd, each once."""
    builder = engine().name
    for name in names:
        image = image_name(name, REGISTRY, TAG)
        mark = HANDED_OVER / name
        identity = _output([builder, "image", "inspect", "--format", "{{.Id}}", image])
        if mark.exists() and mark.read_text() == identity:
            continue
        say(f"handing {image} to containerd")
        saving = subprocess.Popen([builder, "save", image], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        _run(["ctr", "--address", str(SOCKET), "--namespace", "k8s.io", "images", "import", "-"], saving.stdout)
        if saving.wait():
            raise BuildFailed(f"{builder} cannot save {image}")
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(identity)


def _is_built(builder: str, name: str, contents: str) -> bool:
    mark = BUILT / name
    return mark.exists() and mark.read_text() == contents and _exists(builder, image_name(name, REGISTRY, TAG))


def _contents() -> str:
    tracked = subprocess.run(["git", "ls-files", "-z", *CONTENTS], cwd=ROOT, check=True, capture_output=True, text=True)
    files = [ROOT / name for name in tracked.stdout.split("\0") if name]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()


def _exists(builder: str, image: str) -> bool:
    return subprocess.run([builder, "image", "inspect", image], capture_output=True).returncode == 0


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _run(command: Sequence[str], given: object = None) -> None:
    done = subprocess.run(command, stdin=given or subprocess.DEVNULL, capture_output=True, text=True)  # type: ignore[call-overload]
    if done.returncode:
        raise BuildFailed(f"{' '.join(command[:3])} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
