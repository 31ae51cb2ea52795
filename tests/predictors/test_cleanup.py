"""The clean-up of real caches: real entries, real locks of other processes, and a cluster's API on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from predictors.cache import User, entry, key_of, locked, mark_used, partial, publish
from predictors.checksums import checksums
from predictors.cleanup.__main__ import main
from predictors.cleanup.settings import SETTINGS, parser
from predictors.provenance import provenance
from tests.cluster import TOKEN, Api, api, kubeconfig, pod
from tests.serving import free_port, wait_for

HOUR, DAY = 3600.0, 86400.0
MB = 10**6


@dataclass
class Cache:
    root: Path

    def add(self, uri: str, *, days: float = 30, size: int = MB, users: tuple[User, ...] = ()) -> Path:
        """An entry as the storage initializer makes it, last used so many days ago."""
        key = key_of(uri)
        with locked(self.root, key), partial(self.root, key) as folder:
            (folder / "model").mkdir()
            (folder / "model" / "MLmodel").write_bytes(b"\0" * size)
            sums = checksums(folder / "model")
            provenance(folder / "model", uri, uri, None, sums).write(folder / "entry.json")
            made = publish(folder, self.root, key)
            for one in users or (None,):
                mark_used(made, one)
        self.age(made, days)
        return made

    def age(self, path: Path, days: float) -> None:
        then = time.time() - days * DAY
        os.utime(path / "used", (then, then))

    def download(self, uri: str, *, hours: float) -> Path:
        """What a killed download leaves."""
        folder = self.root / ".partial" / f"{key_of(uri)}.abcd"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "weights").write_bytes(b"\0" * MB)
        for path in (folder / "model" / "weights", folder / "model", folder):
            os.utime(path, (time.time() - hours * HOUR,) * 2)
        return folder

    @property
    def uris(self) -> set[str]:
        return {json.loads(file.read_text())["resolved_uri"] for file in self.root.glob("*/entry.json")}


def user(name: str, namespace: str = "models", uid: str | None = "same") -> User:
    return User(namespace, name, f"uid-of-{name}" if uid == "same" else uid, "2026-01-01T00:00:00+00:00")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as made:
        yield made


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)

    def line(self, start: str) -> str:
        return next(line for line in self.out.splitlines() if line.startswith(start))


class Command:
    """The command as the job runs it, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")},
            "CACHE_PATH": str(folder / "cache"), "NAMESPACE": "models", "KUBECONFIG": str(folder / "kubeconfig"),
        }  # fmt: skip

    def start(self, *flags: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "predictors.cleanup", *flags], env={**self.env, **env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *flags: str, **env: str) -> Done:
        process = self.start(*flags, **env)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)


@pytest.fixture
def cleanup(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_what_nobody_used_for_days_is_removed(cache: Cache, cluster: Api, cleanup: Command) -> None:
    old, young = cache.add("models:/fraud/1", days=9), cache.add("models:/fraud/2", days=6.9)
    done = cleanup()
    assert (done.status, done.err) == (0, "")
    assert cache.uris == {"models:/fraud/2"}
    assert done.line("removed") == f"removed {old.name} (models:/fraud/1, 1.0 MB): used 9 days ago, TTL_DAYS=7"
    assert done.line("kept") == f"kept {young.name} (models:/fraud/2, 1.0 MB): used 6 days ago"
    assert done.out.splitlines()[-1] == "removed 1, kept 1; 1.0 MB freed, 1.0 MB left"
    assert not list((cache.root / ".trash").iterdir())


def test_a_dry_run_touches_nothing(cache: Cache, cluster: Api, cleanup: Command) -> None:
    old = cache.add("models:/fraud/1", users=(user("gone"),))
    cache.add("models:/fraud/2", days=0, users=(user("gone"),))
    cache.download("models:/fraud/3", hours=5)
    shutil.rmtree(cache.root / ".locks")
    before = snapshot(cache.root)
    done = cleanup("--dry-run")
    assert done.status == 0
    assert snapshot(cache.root) == before
    assert done.line("would remove").startswith(f"would remove {key_of('models:/fraud/3')} (download")
    assert f"would remove {old.name} (models:/fraud/1" in done.out
    assert "would be removed 2, kept 1; 2.0 MB to free, 1.0 MB left" in done.out


def snapshot(root: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for path in [root, *root.rglob("*")]}


def test_what_a_pod_uses_stays(cache: Cache, cluster: Api, cleanup: Command) -> None:
    cluster.pods = [
        pod("running"), pod("pending", phase="Pending"), pod("done", phase="Succeeded"), pod("failed", phase="Failed"),
        pod("again", uid="another"), pod("nameless", uid="x"),
    ]  # fmt: skip
    for name in ("running", "pending", "done", "failed", "again", "gone"):
        cache.add(f"models:/{name}/1", users=(user(name),))
    cache.add("models:/nameless/1", users=(user("nameless", uid=None),))
    done = cleanup()
    assert cache.uris == {"models:/running/1", "models:/pending/1", "models:/nameless/1"}
    assert "(models:/running/1, 1.0 MB): in use by pod models/running\n" in done.out


def test_users_without_a_uid_may_only_know_their_host_name(cache: Cache, cluster: Api, cleanup: Command) -> None:
    long = "predictor-" * 7
    cluster.pods = [pod(f"{long}0"), pod("on-the-host")]
    cluster.pods[1]["spec"] |= {"hostNetwork": True, "nodeName": "node-7"}
    cache.add("models:/long/1", users=(user(long[:63], uid=None),))
    cache.add("models:/host/1", users=(user("node-7", uid=None),))
    cleanup()
    assert cache.uris == {"models:/long/1", "models:/host/1"}


def test_what_a_pod_names_stays(cache: Cache, cluster: Api, cleanup: Command) -> None:
    for number in range(1, 8):
        cache.add(f"models:/fraud/{number}")
    cache.add("models:/fraud/31")
    with_init = pod("by-init")
    with_init["spec"]["initContainers"] = [{"name": "storage", "args": ["mlflow://models/fraud/4", "/mnt/models"]}]
    cluster.pods = [
        pod("by-env", env=[{"name": "MODEL_URI", "value": "models:/fraud/1"}]),
        pod("by-argument", args=["--model-uri=models:/fraud/2"]),
        pod("by-path", env=[{"name": "MODEL_LOCAL_PATH", "value": f"/elsewhere/{key_of('models:/fraud/5')}/model"}]),
        pod("by-mount", volumeMounts=[{"name": "c", "mountPath": "/m", "subPath": f"{key_of('models:/fraud/6')}/model"}]),
        pod("similar", args=["models:/fraud/31x", "xmodels:/fraud/7"]),
        pod("other", "elsewhere", args=["models:/fraud/7"]),
        with_init,
    ]  # fmt: skip
    done = cleanup()
    assert cache.uris == {f"models:/fraud/{number}" for number in (1, 2, 4, 5, 6)}
    assert "named by pod models/by-argument" in done.out


def test_the_least_recently_used_make_room(cache: Cache, cluster: Api, cleanup: Command) -> None:
    cluster.pods = [pod("p")]
    cache.add("models:/m/1", days=6, users=(user("p"),))
    for number in (2, 3, 4, 5):
        cache.add(f"models:/m/{number}", days=6 - number)
    done = cleanup("--max-size-gb", "0.0031")
    assert cache.uris == {"models:/m/1", "models:/m/4", "models:/m/5"}
    assert "used 4 days ago, least recently of a cache above MAX_SIZE_GB=0.0031" in done.out
    assert done.status == 0


def test_a_recent_entry_does_not_go_for_its_size(cache: Cache, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1", days=0.03)
    cache.add("models:/m/2", days=1)
    done = cleanup(MAX_SIZE_GB="0.0000001")
    assert cache.uris == {"models:/m/1"}
    assert "used 43 minutes ago, too recently to make room" in done.out
    assert "the cache is still 1.0 MB above MAX_SIZE_GB=1e-07" in done.err
    assert cleanup("--max-size-gb=0.0000001", "--min-age-minutes=30").status == 0
    assert cache.uris == set()


def test_data_with_several_names_counts_once(cache: Cache, cluster: Api, cleanup: Command, tmp_path: Path) -> None:
    one, two, three = (cache.add(f"models:/m/{number}", days=30 if number < 3 else 0) for number in (1, 2, 3))
    (two / "model" / "MLmodel").unlink()
    os.link(one / "model" / "MLmodel", two / "model" / "MLmodel")  # freed with the second of them
    os.link(three / "model" / "MLmodel", tmp_path / "linked")
    done = cleanup()
    assert done.out.splitlines()[-1] == "removed 2, kept 1; 1.0 MB freed, 1.0 MB left"
    cache.age(three, 30)
    assert cleanup().out.splitlines()[-1] == "removed 1, kept 0; 0.0 MB freed, 0 bytes left".replace("0.0 MB", freed_beside())


def freed_beside() -> str:
    """entry.json; the model itself has a name elsewhere."""
    return "269 bytes"
