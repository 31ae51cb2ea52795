"""The clean-up of real caches, with locks of other processes and a Kubernetes API on loopback."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from loadtest.peers.ports import free_port
from predictors.cleanup.__main__ import clean, main
from predictors.cleanup.report import Report
from predictors.cleanup.settings import CleanupSettings, read_settings
from predictors.settings.declare import env_of
from predictors.storage.cache import User, key_of, locked, mark_used, partial, publish
from predictors.storage.checksums import checksums
from predictors.storage.provenance import provenance_of
from tests.kubernetes_api import TOKEN, Api, api, kubeconfig, pod
from tests.serving import wait_for

HOUR, DAY = 3600.0, 86400.0
MB = 10**6


@dataclass
class CacheFolder:
    root: Path

    def add(self, uri: str, *, days: float = 30, size: int = MB, users: tuple[User, ...] = ()) -> Path:
        """An entry as the storage initializer creates it, last used so many days ago."""
        key = key_of(uri)
        with locked(self.root, key), partial(self.root, key) as folder:
            (folder / "model").mkdir()
            (folder / "model" / "MLmodel").write_bytes(b"\0" * size)
            sums = checksums(folder / "model")
            provenance_of(folder / "model", uri, uri, None, sums).write(folder / "entry.json")
            entry = publish(folder, self.root, key)
            for user in users or (None,):
                mark_used(entry, user)
        self.age(entry, days)
        return entry

    def age(self, path: Path, days: float) -> None:
        used = time.time() - days * DAY
        os.utime(path / "used", (used, used))

    def download(self, uri: str, *, hours: float) -> Path:
        """The remains of a killed download."""
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
def cache(tmp_path: Path) -> CacheFolder:
    (tmp_path / "cache").mkdir()
    return CacheFolder(tmp_path / "cache")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as running:
        yield running


@dataclass
class CleanupResult:
    status: int
    out: str
    err: str

    @property
    def report(self) -> Any:
        return json.loads(self.out)

    def line(self, start: str) -> str:
        return next(line for line in self.out.splitlines() if line.startswith(start))


class Command:
    """The command with the environment of a job; called in this process, or started in its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.env = {
            "CACHE_PATH": str(folder / "cache"), "NAMESPACE": "models", "KUBECONFIG": str(folder / "kubeconfig"),
        }  # fmt: skip

    def __call__(self, *flags: str, **env: str) -> CleanupResult:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in {**self.env, **env}.items():
                patched.setenv(name, value)
            self.capsys.readouterr()
            try:
                status = main(flags)
            except SystemExit as end:
                status = int(end.code or 0)
        return CleanupResult(status, *self.capsys.readouterr())

    def start(self, *flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "predictors.cleanup", *flags], env={**os.environ, **self.env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture
def cleanup(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in ("KUBERNETES_SERVICE_HOST", *(name for one in fields(CleanupSettings) for name in env_of(one))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("predictors.cluster.BACKOFF", 0)
    return Command(tmp_path, capsys)


def test_entries_that_were_not_used_for_days_are_removed(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    old, young = cache.add("models:/fraud/1", days=9), cache.add("models:/fraud/2", days=6.9)
    done = cleanup()
    assert (done.status, done.err) == (0, "")
    assert cache.uris == {"models:/fraud/2"}
    assert done.line("removed") == f"removed {old.name} (models:/fraud/1, 1.0 MB): used 9 days ago, TTL_DAYS=7"
    assert done.line("kept") == f"kept {young.name} (models:/fraud/2, 1.0 MB): used 6 days ago"
    assert done.out.splitlines()[-1] == "removed 1, kept 1; 1.0 MB freed, 1.0 MB left"
    assert not list((cache.root / ".trash").iterdir())


def test_a_dry_run_changes_nothing(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
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
    assert "would remove 2, keep 1; would free 2.0 MB, 1.0 MB left" in done.out


def snapshot(root: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime for path in [root, *root.rglob("*")]}


def test_entries_used_by_a_pod_stay(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
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


def test_users_without_a_uid_may_only_know_their_host_name(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    long = "predictor-" * 7
    cluster.pods = [pod(f"{long}0"), pod("on-the-host")]
    cluster.pods[1]["spec"] |= {"hostNetwork": True, "nodeName": "node-7"}
    cache.add("models:/long/1", users=(user(long[:63], uid=None),))
    cache.add("models:/host/1", users=(user("node-7", uid=None),))
    cleanup()
    assert cache.uris == {"models:/long/1", "models:/host/1"}


def test_entries_named_by_a_pod_stay(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
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


def test_the_least_recently_used_make_room(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cluster.pods = [pod("p")]
    cache.add("models:/m/1", days=6, users=(user("p"),))
    for number in (2, 3, 4, 5):
        cache.add(f"models:/m/{number}", days=6 - number)
    done = cleanup("--max-size-gb", "0.0031")
    assert cache.uris == {"models:/m/1", "models:/m/4", "models:/m/5"}
    assert "used 4 days ago, least recently used in a cache above MAX_SIZE_GB=0.0031" in done.out
    assert done.status == 0


def test_a_recent_entry_is_not_removed_for_the_size(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1", days=0.03)
    cache.add("models:/m/2", days=1)
    done = cleanup(MAX_SIZE_GB="0.0000001")
    assert cache.uris == {"models:/m/1"}
    assert "used 43 minutes ago, too recently to make room" in done.out
    assert "the cache is still 1.0 MB above MAX_SIZE_GB=1e-07" in done.err
    assert cleanup("--max-size-gb=0.0000001", "--min-age-minutes=30").status == 0
    assert cache.uris == set()


def test_files_with_several_links_count_once(
    cache: CacheFolder, cluster: Api, cleanup: Command, tmp_path: Path
) -> None:
    one, two, three = (cache.add(f"models:/m/{number}", days=30 if number < 3 else 0) for number in (1, 2, 3))
    (two / "model" / "MLmodel").unlink()
    os.link(one / "model" / "MLmodel", two / "model" / "MLmodel")  # freed with the second of them
    os.link(three / "model" / "MLmodel", tmp_path / "linked")
    done = cleanup()
    assert done.out.splitlines()[-1] == "removed 2, kept 1; 1.0 MB freed, 1.0 MB left"
    manifest = (three / "entry.json").stat().st_size
    cache.age(three, 30)
    assert cleanup().out.splitlines()[-1] == f"removed 1, kept 0; {manifest} bytes freed, 0 bytes left"


def test_users_without_a_pod_are_removed(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cluster.pods = [pod("here"), pod("over", phase="Failed")]
    entry = cache.add("models:/m/1", days=1, users=(user("here"), user("gone"), user("over"), user("here", uid="old")))
    assert cleanup().status == 0
    assert [file.name for file in (entry / "users").iterdir()] == ["models.here.uid-of-here"]


def test_a_new_pod_with_the_same_name_stays_a_user(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    """It writes the same file again while the cluster is asked."""
    entry = cache.add("models:/m/1", days=1, users=(user("p", uid=None),))
    cluster.before_answer = lambda: mark_used(entry, User("models", "p", None, "2026-01-01T00:00:09+00:00"))
    cleanup()
    assert [file.name for file in (entry / "users").iterdir()] == ["models.p."]


def test_users_in_other_namespaces(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cluster.readable = frozenset({"models", "shared"})
    cluster.pods = [pod("p", "shared")]
    cache.add("models:/shared/1", users=(user("p", "shared"),))
    cache.add("models:/shared/2", users=(user("q", "shared"),))
    hidden = cache.add("models:/hidden/1", users=(user("p", "hidden"),))
    done = cleanup()
    assert done.status == 0
    assert cache.uris == {"models:/shared/1", "models:/hidden/1"}
    assert "perhaps in use by pod hidden/p: no permission to list the pods of that namespace (403)" in done.out
    assert list((hidden / "users").iterdir())


def test_all_namespaces(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cluster.pods = [pod("p", "one"), pod("p", "two", args=["models:/m/2"])]
    cache.add("models:/m/1", users=(user("p", "one"),))
    cache.add("models:/m/2", users=(user("gone", "three"),))
    cache.add("models:/m/3", users=(user("p", "three"),))
    assert cleanup(NAMESPACE="*").status == 0
    assert cache.uris == {"models:/m/1", "models:/m/2"}
    assert cluster.asked == ["/api/v1/pods?limit=500"]


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["real", "dry"])
@pytest.mark.parametrize("how", ["403", "401", "500", "garbage", "refused", "no-config"])
def test_when_the_api_fails_nothing_is_removed(
    cache: CacheFolder, cluster: Api, cleanup: Command, tmp_path: Path, how: str, flags: tuple[str, ...]
) -> None:
    cache.add("models:/m/1", users=(user("gone"),))
    cache.download("models:/m/2", hours=9)
    (cache.root / ".trash" / f"{key_of('models:/m/3')}.abcd").mkdir(parents=True)
    if how == "403":
        cluster.readable = frozenset()
    elif how.isdigit():
        cluster.failures, cluster.always = [(int(how), {})], True
    elif how == "garbage":
        cluster.body = b"{}"
    elif how == "refused":
        kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}")
    else:
        (tmp_path / "kubeconfig").unlink()
    before = snapshot(cache.root / ".partial") | snapshot(cache.root / ".trash")
    done = cleanup(*flags)
    assert done.status == 1
    assert done.out == ""
    assert "Kubernetes API" in done.err
    assert done.err.endswith("; nothing was removed\n")
    assert done.err.count("\n") == 1
    assert TOKEN not in done.err
    assert cache.uris == {"models:/m/1"}
    assert snapshot(cache.root / ".partial") | snapshot(cache.root / ".trash") == before
    assert list(cache.root.glob("*/users/*"))


def test_a_later_page_that_fails_counts_as_failure(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cluster.pods, cluster.page = [pod("a"), pod("b")], 1
    cache.add("models:/m/1")

    def fail_second() -> None:
        cluster.failures, cluster.always = [(500, {})] if len(cluster.asked) > 1 else [], True

    cluster.before_answer = fail_second
    assert cleanup().status == 1
    assert cache.uris == {"models:/m/1"}


def test_the_cluster_is_not_asked_for_nothing(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    done = cleanup()
    assert (done.status, cluster.asked) == (0, [])
    assert "there is no model in the cache" in done.err
    cache.add("models:/m/1", days=1)
    assert cleanup().line("kept").endswith("used 1 day ago")
    assert cluster.asked == []


@contextlib.contextmanager
def holding(root: Path, key: str, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Another process that holds the lock, as one that downloads (exclusive) or one that takes the entry (shared)."""
    (root / ".locks").mkdir(exist_ok=True)
    script = f"import fcntl; f = open({str(root / '.locks' / key)!r}, 'a'); fcntl.flock(f, {how}); print(); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "\n"
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["real", "dry"])
@pytest.mark.parametrize("how", [fcntl.LOCK_EX, fcntl.LOCK_SH], ids=["exclusive", "shared"])
def test_what_another_process_holds_stays(
    cache: CacheFolder, cluster: Api, cleanup: Command, how: int, flags: tuple[str, ...]
) -> None:
    entry = cache.add("models:/m/1")
    with holding(cache.root, entry.name, how):
        done = cleanup(*flags)
        assert done.status == 0
        assert done.line("kept").endswith("being downloaded or handed to a pod")
        assert cache.uris == {"models:/m/1"}
    assert cleanup(*flags).line("would remove" if flags else "removed")


def test_what_is_held_makes_others_go_for_the_size(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    first = cache.add("models:/m/1", days=3)
    cache.add("models:/m/2", days=2)
    cache.add("models:/m/3", days=1)
    with holding(cache.root, first.name):
        cleanup(MAX_SIZE_GB="0.0021")
    assert cache.uris == {"models:/m/1", "models:/m/3"}


@pytest.mark.parametrize("mark", ["used", "user"])
def test_an_entry_that_a_pod_takes_while_the_cluster_is_asked(
    cache: CacheFolder, cluster: Api, cleanup: Command, mark: str
) -> None:
    entry = cache.add("models:/m/1", users=(user("p"),))

    def use_entry() -> None:
        mark_used(entry, user("q") if mark == "user" else None)
        if mark == "user":
            cache.age(entry, 30)

    cluster.before_answer = use_entry
    done = cleanup()
    assert done.line("kept").endswith("used or removed by another process in the meantime")
    assert cache.uris == {"models:/m/1"}


def test_abandoned_downloads_are_removed(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    old, young = cache.download("models:/m/1", hours=5), cache.download("models:/m/2", hours=0.5)
    going_on = cache.download("models:/m/3", hours=5)
    with holding(cache.root, key_of("models:/m/3")):
        done = cleanup()
    assert [path.exists() for path in (old, young, going_on)] == [False, True, True]
    assert "(download, 1.0 MB): abandoned, last written 5 hours ago" in done.line("removed")
    assert "may be in progress, last written 30 minutes ago" in done.line(f"kept {key_of('models:/m/2')}")
    assert done.out.splitlines()[-1] == "removed 1, kept 2; 1.0 MB freed, 2.0 MB left"


def test_a_download_that_goes_on_after_all(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    """As on a file system without locks, after a pause of hours."""
    folder = cache.download("models:/m/1", hours=5)
    cluster.before_answer = lambda: (folder / "model" / "more").touch()
    assert cleanup().line("kept").endswith("finished or removed by another process in the meantime")
    assert folder.exists()


def test_other_files_among_the_users(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    entry = cache.add("models:/m/1", users=(user("gone"),))
    for name in (".nfs0001", "README", "My Space.pod.uid", "models..uid"):
        (entry / "users" / name).write_text("?")
    (entry / "users" / "models.torn.uid-of-torn").write_text('{"namespace": "mod')
    cluster.pods = [pod("torn")]
    assert cleanup().line("kept").endswith("in use by pod models/torn")
    assert cluster.asked == ["/api/v1/namespaces/models/pods?limit=500"]
    cluster.pods = []
    assert cleanup().line("removed")


def test_trash_and_unused_lock_files_are_removed(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    left = cache.root / ".trash" / f"{key_of('models:/m/1')}.abcd"
    (left / "model").mkdir(parents=True)
    (left / "model" / "weights").write_bytes(b"\0" * MB)
    kept = cache.add("models:/m/2", days=1)
    cache.add("models:/m/3")
    (cache.root / ".locks" / key_of("models:/failed/1")).touch()
    with holding(cache.root, key_of("models:/begun/1")):
        done = cleanup()
    assert not left.exists()
    assert "(leftover, 1.0 MB): an earlier removal was interrupted" in done.out
    names = {file.name for file in (cache.root / ".locks").iterdir()} - {".cleanup"}
    assert names == {kept.name, key_of("models:/begun/1")}


@pytest.mark.parametrize("harm", ["absent", "garbage", "no-model"])
def test_broken_entries_are_removed_after_an_hour(
    cache: CacheFolder, cluster: Api, cleanup: Command, harm: str
) -> None:
    cluster.pods = [pod("p")]
    entries = [
        cache.add("models:/m/1", days=0.1),
        cache.add("models:/m/2", days=0.02),
        cache.add("models:/m/3", days=0.1, users=(user("p"),)),
    ]
    for path in entries:
        if harm == "absent":
            (path / "entry.json").unlink()
        elif harm == "garbage":
            (path / "entry.json").write_text("{")
        else:
            shutil.rmtree(path / "model")
    done = cleanup()
    assert [path.exists() for path in entries] == [False, True, True]
    assert "broken: no complete model with a readable entry.json, changed 2 hours ago" in done.line("removed")


def test_an_entry_of_a_newer_layout_is_not_broken(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    entry = cache.add("models:/m/1")
    content = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(json.dumps(content | {"layout": 2}))
    assert "has layout 2, which this version does not support" in cleanup().line("kept")
    assert entry.exists()


def test_other_folders_are_not_touched(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    for name in ("lost+found", "data-2020", "fraud-0123456789abcde", ".hidden-0123456789abcdef"):
        (cache.root / name).mkdir()
        os.utime(cache.root / name, (0, 0))
    cache.add("models:/m/1")
    cleanup(TTL_DAYS="0")
    assert (
        len([path for path in cache.root.iterdir() if not path.name.startswith((".locks", ".partial", ".trash"))]) == 4
    )


def test_two_at_once(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    """Each would make room for itself: together they remove what one would, and both end well."""
    for number in range(1, 9):
        cache.add(f"models:/m/{number}", days=8 - number + 0.5, size=MB // 10)
    both_ask = threading.Event()
    cluster.before_answer = lambda: both_ask.wait(60)
    first = cleanup.start("--max-size-gb", "0.00045")
    wait_for(lambda: cluster.asked)
    second = cleanup.start("--max-size-gb", "0.00045")
    said = second.communicate(timeout=60)
    both_ask.set()
    out, err = first.communicate(timeout=60)
    assert (first.returncode, second.returncode, err) == (0, 0, "")
    assert said[1] == "another clean-up of this cache is running: nothing to do\n"
    assert out.splitlines()[-1].startswith("removed 4, kept 4; ")
    assert cache.uris == {f"models:/m/{number}" for number in (5, 6, 7, 8)}


def test_many_at_once_without_locks(
    cache: CacheFolder, cluster: Api, cleanup: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that knows none: what one has removed is no error to another."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    for number in range(20):
        cache.add(f"models:/m/{number}", size=1000)
    monkeypatch.setattr("fcntl.flock", no_locks)
    settings = read_settings(["--cache-path", str(cache.root), "--namespace", "models", "--json"])
    monkeypatch.setenv("KUBECONFIG", cleanup.env["KUBECONFIG"])
    with ThreadPoolExecutor(4) as threads:
        reports = [Report(as_json=True) for _ in range(4)]
        assert set(threads.map(lambda report: clean(settings, report), reports)) == {0}
    assert cache.uris == set()
    assert sum(report.count("removed") for report in reports) == 20


def test_pods_that_start_meanwhile_get_their_model(
    cache: CacheFolder, cluster: Api, cleanup: Command, tmp_path: Path
) -> None:
    """Storage initializers that fill and use the cache, and clean-ups that remove whatever they may, all the time."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "MLmodel").write_text("flavors: {}\n")
    (source / "weights").write_bytes(os.urandom(3 * MB))
    cluster.pods = [pod("live")]

    def start(name: str, link: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "predictors.storage", str(source), str(tmp_path / name)], text=True,
            env={
                **os.environ, **cleanup.env, "STORAGE_STRATEGY": "pvc", "CACHE_UNVERSIONED": "true", "CACHE_LINK": link,
                "POD_NAMESPACE": "models", "POD_NAME": name, "POD_UID": f"uid-of-{name}",
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finish(pods: dict[str, subprocess.Popen[str]]) -> int:
        removed = 0
        while any(one.poll() is None for one in pods.values()):
            done = cleanup(TTL_DAYS="0")
            assert done.status == 0, done.err
            removed += done.out.count("removed ") - 1
        for name, process in pods.items():
            out, _ = process.communicate()
            assert process.returncode == 0, out
            assert (tmp_path / name / "weights").read_bytes() == (source / "weights").read_bytes()
        return removed

    assert finish({f"gone-{number}": start(f"gone-{number}", "hardlink") for number in range(4)})
    finish({"live": start("live", "symlink")})
    assert "in use by pod models/live" in cleanup(TTL_DAYS="0").line("kept")
    assert (tmp_path / "live" / "weights").is_symlink()
    cluster.pods = []
    assert cleanup(TTL_DAYS="0").line("removed")


def test_a_clean_up_that_is_killed_is_finished_by_the_next(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1")
    cluster.hang = True
    first = cleanup.start()
    wait_for(lambda: cluster.asked)
    first.kill()
    first.communicate()
    cluster.hang = False
    assert cleanup().line("removed")


def test_the_report_as_json(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cluster.pods = [pod("p")]
    gone, kept = cache.add("models:/m/1"), cache.add("models:/m/2", users=(user("p"),))
    done = cleanup("--json", DRY_RUN="true")
    content = json.loads(done.out)
    assert done.err == ""
    assert {name: content[name] for name in ("dry_run", "removed", "kept", "failed", "notes", "error")} == {
        "dry_run": True, "removed": 1, "kept": 1, "failed": 0, "notes": [], "error": None,
    }  # fmt: skip
    size = sum(file.stat().st_size for file in gone.rglob("*") if file.is_file())
    assert content["freed"] == size
    assert content["lines"] == [
        {"action": "removed", "kind": "entry", "key": gone.name, "uri": "models:/m/1", "bytes": size, "why": "used 30 days ago, TTL_DAYS=7"},
        {"action": "kept", "kind": "entry", "key": kept.name, "uri": "models:/m/2", "bytes": content["left"], "why": "in use by pod models/p"},
    ]  # fmt: skip
    cluster.readable = frozenset()
    failed = cleanup("--json")
    assert failed.status == 1
    assert json.loads(failed.out)["error"] == failed.err.strip()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"TTL_DAYS": "-1"}, "TTL_DAYS: '-1' is not usable: expected a number of days, 0 or more, such as 7 or 0.5"),
        ({"TTL_DAYS": "7d"}, "TTL_DAYS: '7d' is not usable: expected a number of days"),
        ({"TTL_DAYS": "nan"}, "TTL_DAYS: 'nan' is not usable: expected a number of days"),
        ({"MAX_SIZE_GB": "50Gi"}, "MAX_SIZE_GB: '50Gi' is not usable: expected a number of GB"),
        ({"MIN_AGE_MINUTES": "-5"}, "MIN_AGE_MINUTES: '-5' is not usable: expected a number of minutes"),
        ({"DRY_RUN": "maybe"}, "DRY_RUN: 'maybe' is not usable: expected true or false"),
        ({"NAMESPACE": "My Models"}, "NAMESPACE: 'My Models' is not usable: expected the name of a namespace, or *"),
        ({"NAMESPACE": ""}, "NAMESPACE: expected the namespace of the pods that use the cache; only in a pod"),
        ({"CACHE_PATH": "/nowhere/at/all"}, "CACHE_PATH: there is no folder /nowhere/at/all: expected the mount point"),
    ],
    ids=lambda value: next(iter(f"{name}={text}" for name, text in value.items())) if isinstance(value, dict) else "",
)  # fmt: skip
def test_invalid_settings(cache: CacheFolder, cleanup: Command, env: dict[str, str], message: str) -> None:
    cache.add("models:/m/1")
    done = cleanup(**env)
    assert done.status == 2
    assert done.err.startswith(f"python -m predictors.cleanup: {message}")
    assert cache.uris == {"models:/m/1"}


def test_flags_override_the_environment_in_both_spellings(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1", days=3)
    assert cleanup("--ttl_days", "0.5", "--dry_run", "--cache_path", str(cache.root), TTL_DAYS="9").line("would remove")
    assert cleanup("--ttl-days=0.5", "--dry-run=false", DRY_RUN="true", CACHE_PATH="/nowhere").status == 2
    assert cleanup("--dry-run=false", DRY_RUN="true", MLFLOW_KSERVE_TTL_DAYS="0.5").line("removed")
    cache.add("models:/m/2", days=3000)
    assert cleanup("--ttl-days=inf").line("kept")


def test_the_namespace_of_the_pod_itself(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1")
    assert cleanup(NAMESPACE="", POD_NAMESPACE="mine").status == 0
    assert cluster.asked == ["/api/v1/namespaces/mine/pods?limit=500"]


@contextlib.contextmanager
def mounted(folder: Path, *, read_only: bool = False) -> Iterator[None]:
    """The folder mounted on itself: it cannot be moved then; or it is read-only as a whole volume may be."""
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
        pytest.skip("mounting is refused here")
    try:
        if read_only:
            subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_volume_that_cannot_be_written_to(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1")
    with mounted(cache.root, read_only=True):
        done = cleanup()
        assert (done.status, done.out) == (3, "")
        assert done.err == f"CACHE_PATH: {cache.root} cannot be cleaned: Read-only file system\n"
    assert cache.uris == {"models:/m/1"}


def test_an_entry_that_cannot_be_removed_does_not_stop_the_clean_up(
    cache: CacheFolder, cluster: Api, cleanup: Command
) -> None:
    fixed = cache.add("models:/m/1")
    cache.add("models:/m/2")
    with mounted(fixed):
        done = cleanup()
    assert done.status == 3
    assert done.line("failed").endswith("TTL_DAYS=7, but it cannot be removed: Device or resource busy")
    assert done.out.splitlines()[-1].startswith("removed 1, kept 0, 1 failed; ")
    assert cache.uris == {"models:/m/1"}
    assert not list((cache.root / ".trash").iterdir())


def test_an_unreadable_entry_is_not_broken(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    entry = cache.add("models:/m/1")
    (entry / "entry.json").unlink()
    (entry / "entry.json").symlink_to("entry.json")
    assert cleanup().line("kept").endswith("entry.json cannot be read: Too many levels of symbolic links")
    assert entry.exists()


def test_without_anything_to_do_the_client_is_not_imported(cache: CacheFolder, cluster: Api, cleanup: Command) -> None:
    cache.add("models:/m/1", days=1)
    script = (
        "import sys; from predictors.cleanup.__main__ import main; main([]); "
        "print([name for name in ('kubernetes', 'mlflow', 'kserve', 'numpy', 'pandas', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **cleanup.env}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
