"""Models on a volume that many pods share: each under the URI of one immutable version, complete or absent.

<key>/model/…, entry.json      the files, read-only, and what they should be
<key>/used, users/…            when it was used last, and the pods that it was given to
.locks/<key>                   exclusive: downloads, repairs or removes it; shared: verifies and links it
.partial/<key>.<random>/       a download under way; one rename makes it an entry
.trash/<key>.<random>/         being removed
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from predictors.storage.checksums import folder_size
from predictors.storage.provenance import Provenance, read_provenance, text_or_none

LOCKS, PARTIAL, TRASH = ".locks", ".partial", ".trash"
MODEL, ENTRY, USED, USERS = "model", "entry.json", "used", "users"
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@=-]{0,59}-[0-9a-f]{16}")
NO_FLOCK = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Busy(Exception):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class User:
    """A pod that an entry was given to; what is not known of it is None."""

    namespace: str
    pod: str
    uid: str | None
    since: str

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.pod}.{self.uid or ''}"


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    path: Path
    manifest: Provenance | None
    """None where it cannot be read: the entry is broken."""
    bytes: int
    last_used: float
    """In seconds since the epoch."""
    users: tuple[User, ...]

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def model(self) -> Path:
        return self.path / MODEL


@dataclass(frozen=True, slots=True)
class Partial:
    """A download under way, or what a killed one left."""

    key: str
    path: Path
    bytes: int
    newest: float
    """When the youngest of its files was written, in seconds since the epoch."""


def key_of(resolved_uri: str, server: str = "") -> str:
    """Readable and unambiguous; `server` is the tracking server that a URI such as models:/fraud/3 does not name."""
    slug = re.sub(r"[^A-Za-z0-9_.@=]+", "-", resolved_uri).strip("-._@=")[:60].rstrip("-._@=") or "model"
    return f"{slug}-{hashlib.sha256(f'{server} {resolved_uri}'.encode()).hexdigest()[:16]}"


def keys(root: Path) -> list[str]:
    """Of the entries; folders of others on the same volume are none of ours."""
    return sorted(path.name for path in root.iterdir() if KEY.fullmatch(path.name))


def entries(root: Path) -> list[Entry]:
    return [one for key in keys(root) if (one := entry(root, key)) is not None]


def entry(root: Path, key: str) -> Entry | None:
    path = root / key
    try:
        if not path.is_dir():
            return None
        size, _ = folder_size(path)
        mark = path / USED if (path / USED).exists() else path
        manifest = read_provenance(path / ENTRY) if (path / MODEL).is_dir() else None
        return Entry(key, path, manifest, size, mark.stat().st_mtime, users(path))
    except FileNotFoundError:  # another process has removed it meanwhile
        return None


def users(path: Path) -> tuple[User, ...]:
    """The pods that the entry at this path was given to; a file that cannot be read counts by its name."""
    folder = path / USERS
    return tuple(user(file) for file in sorted(folder.iterdir())) if folder.is_dir() else ()


def user(file: Path) -> User:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return User(str(said["namespace"]), str(said["pod"]), text_or_none(said["uid"]), str(said["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        namespace, _, rest = file.name.partition(".")
        pod, _, uid = rest.rpartition(".")
        return User(namespace, pod, uid or None, "")


def this_pod(environ: Mapping[str, str] = os.environ) -> User | None:
    """The pod that this process runs in, as far as it knows; None outside Kubernetes."""
    namespace, pod = environ.get("POD_NAMESPACE"), environ.get("POD_NAME")
    if not namespace:
        with contextlib.suppress(OSError):
            namespace = NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    pod = pod or environ.get("HOSTNAME")
    if not namespace or not pod:
        return None
    return User(namespace, pod, environ.get("POD_UID") or None, datetime.now(UTC).isoformat(timespec="seconds"))


def mark_used(path: Path, by: User | None) -> None:
    """Whoever may not write here (a volume that is read-only for it) uses the entry all the same."""
    with contextlib.suppress(OSError):
        (path / USED).touch()
        open_to_group(path / USED)
    if by is not None:
        with contextlib.suppress(OSError):
            file = made(path / USERS) / by.name
            file.write_text(json.dumps(asdict(by)), encoding="utf-8")


@contextlib.contextmanager
def locked(root: Path, key: str, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of an entry; the kernel lets go of it when its holder dies.

    Raises Busy where another one holds it and `wait` is false. Gives False where the file system knows no locks: the
    renames keep entries right all the same. A lock file may be removed by who holds it exclusively: whoever waited for
    it meanwhile sees that the name leads elsewhere, and begins anew.
    """
    path = made(root / LOCKS) / key
    flags = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, flags)
            except BlockingIOError:
                raise Busy(key) from None
            except OSError as error:
                if error.errno not in NO_FLOCK:
                    raise
                yield False
                return
            if not leads_to(path, handle):
                continue
            open_to_group(path)
            yield True
            return
        finally:
            os.close(handle)


def leads_to(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def partial(root: Path, key: str) -> Iterator[Path]:
    """A folder for a download, gone afterwards unless it was published."""
    path = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=made(root / PARTIAL)))
    try:
        open_to_group(path, others=True)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(folder: Path, root: Path, key: str) -> Path:
    """A complete download becomes the entry; one that another process published meanwhile stays."""
    for parent, folders, names in os.walk(folder):
        for name in folders:
            open_to_group(Path(parent) / name, others=True)
        if Path(parent).is_relative_to(folder / MODEL):
            for name in names:
                (Path(parent) / name).chmod(0o444)  # a write through a link would change the cache
        settle(Path(parent))
    path = root / key
    try:
        folder.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    settle(root)
    return path


def settle(folder: Path) -> None:
    """The names in a folder are on the disk for good when this returns."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(one: Entry) -> None:
    """To be called with the entry's lock held exclusively: at once it is no entry any more, then its files go."""
    discard(one.path, one.root, one.key)


def discard(path: Path, root: Path, key: str) -> None:
    trash = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=made(root / TRASH)))
    try:
        path.rename(trash)  # over the empty folder
    except OSError:
        trash.rmdir()
        raise
    shutil.rmtree(trash)


def partials(root: Path) -> list[Partial]:
    """Downloads under way, and what killed ones left: those whose lock is free."""
    return leftovers(root, PARTIAL)


def trash(root: Path) -> list[Partial]:
    """What a killed removal left."""
    return leftovers(root, TRASH)


def leftovers(root: Path, where: str) -> list[Partial]:
    folder = root / where
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        newest = 0.0
        for parent, _, names in os.walk(path):
            for name in [".", *names]:
                with contextlib.suppress(OSError):
                    newest = max(newest, (Path(parent) / name).lstat().st_mtime)
        found.append(Partial(path.name.rpartition(".")[0], path, folder_size(path)[0], newest))
    return found


def made(folder: Path) -> Path:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        open_to_group(folder, others=True)
    return folder


def open_to_group(path: Path, *, others: bool = False) -> None:
    """The pods that share a volume may run as several users of one group; servers only read."""
    mode = path.stat().st_mode
    executable = 0o111 if path.is_dir() else 0
    with contextlib.suppress(OSError):  # it belongs to another user, who has opened it already
        path.chmod(mode | 0o660 | (executable & 0o110) | ((0o004 | executable) if others else 0))
