"""A cache of models on a volume that many pods share: one entry for each immutable version, complete or absent.

<key>/model/…, entry.json      the files, read-only, and their provenance with checksums
<key>/used, users/…            the time of the last use, and the pods that use it
.locks/<key>                   held exclusively to download, repair or remove an entry; shared to verify and link it
.partial/<key>.<random>/       a download in progress; one rename makes it an entry
.trash/<key>.<random>/         an entry that is being removed
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
import stat
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
    """A pod that uses an entry."""

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
    provenance: Provenance | None
    """None if it cannot be read: the entry is broken."""
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
    """A download in progress, or the remains of a killed one."""

    key: str
    path: Path
    bytes: int
    newest: float
    """When its newest file was written, in seconds since the epoch."""


def key_of(resolved_uri: str, server: str = "") -> str:
    """A readable, unambiguous name. `server` is the tracking server, which a URI such as models:/fraud/3 omits."""
    slug = re.sub(r"[^A-Za-z0-9_.@=]+", "-", resolved_uri).strip("-._@=")[:60].rstrip("-._@=") or "model"
    return f"{slug}-{hashlib.sha256(f'{server} {resolved_uri}'.encode()).hexdigest()[:16]}"


def keys(root: Path) -> list[str]:
    """The keys of all entries; other folders on the volume are ignored."""
    return sorted(path.name for path in root.iterdir() if KEY.fullmatch(path.name))


def entries(root: Path) -> list[Entry]:
    return [entry for key in keys(root) if (entry := read_entry(root, key)) is not None]


def read_entry(root: Path, key: str) -> Entry | None:
    path = root / key
    try:
        if path.is_symlink() or not path.is_dir():
            return None
        size, _ = folder_size(path)
        mark = path / USED if (path / USED).exists() else path
        provenance = read_provenance(path / ENTRY) if (path / MODEL).is_dir() else None
        return Entry(key, path, provenance, size, mark.stat().st_mtime, read_users(path))
    except FileNotFoundError:  # another process has just removed it
        return None


def read_users(path: Path) -> tuple[User, ...]:
    folder = path / USERS
    return tuple(read_user(file) for file in sorted(folder.iterdir())) if folder.is_dir() else ()


def read_user(file: Path) -> User:
    """The user in a file; if it cannot be read, the one in the file's name."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return User(str(content["namespace"]), str(content["pod"]), text_or_none(content["uid"]), str(content["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        namespace, _, rest = file.name.partition(".")
        pod, _, uid = rest.rpartition(".")
        return User(namespace, pod, uid or None, "")


def this_pod(environ: Mapping[str, str] = os.environ) -> User | None:
    """The pod that this process runs in; None outside Kubernetes."""
    namespace, pod = environ.get("POD_NAMESPACE"), environ.get("POD_NAME")
    if not namespace:
        with contextlib.suppress(OSError):
            namespace = NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    pod = pod or environ.get("HOSTNAME")
    if not namespace or not pod:
        return None
    return User(namespace, pod, environ.get("POD_UID") or None, datetime.now(UTC).isoformat(timespec="seconds"))


def mark_used(path: Path, user: User | None) -> None:
    """Records a use of the entry; errors are ignored, since a pod may use a volume that it cannot write."""
    with contextlib.suppress(OSError):
        write_here(path / USED, "")
        open_to_group(path / USED)
    if user is not None:
        with contextlib.suppress(OSError):
            write_here(ensure_folder(path / USERS) / user.name, json.dumps(asdict(user)))


def write_here(path: Path, text: str) -> None:
    """Writes a file of the volume; a link that another pod has put in its place, or a pipe, is not followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:
        file.write(text)
        os.utime(file.fileno())


@contextlib.contextmanager
def locked(root: Path, key: str, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of an entry; the kernel releases it if the process dies.

    Raises Busy if another process holds it and `wait` is false. Yields False if the file system has no locks: entries
    are still published and removed by a rename. The holder of an exclusive lock may remove its file: a process that
    waited for it then finds another file, or none, under the name, and starts again.
    """
    path = ensure_folder(root / LOCKS) / key
    flags = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
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
            if not is_open_as(path, handle):
                continue
            open_to_group(path)
            yield True
            return
        finally:
            os.close(handle)


def is_open_as(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def partial(root: Path, key: str) -> Iterator[Path]:
    """A folder for a download, removed afterwards unless it was published."""
    path = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=ensure_folder(root / PARTIAL)))
    try:
        open_to_group(path, others=True)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(folder: Path, root: Path, key: str) -> Path:
    """Makes a complete download the entry, unless another process has published one."""
    for parent, folders, names in os.walk(folder):
        for name in folders:
            open_to_group(Path(parent) / name, others=True)
        if Path(parent).is_relative_to(folder / MODEL):
            for name in names:
                (Path(parent) / name).chmod(0o444)  # a write through a link would change the cache
        sync_folder(Path(parent))
    path = root / key
    try:
        folder.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    sync_folder(root)
    return path


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(entry: Entry) -> None:
    """Removes an entry whose lock is held exclusively: one rename, so that it is never half there."""
    discard(entry.path, entry.root, entry.key)


def discard(path: Path, root: Path, key: str) -> None:
    trash = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=ensure_folder(root / TRASH)))
    try:
        path.rename(trash)  # over the empty folder
    except OSError:
        trash.rmdir()
        raise
    shutil.rmtree(trash)


def partials(root: Path) -> list[Partial]:
    """Downloads in progress, and the remains of killed ones: those whose lock is free."""
    return leftovers(root, PARTIAL)


def trash(root: Path) -> list[Partial]:
    """Remains of killed removals."""
    return leftovers(root, TRASH)


def leftovers(root: Path, name: str) -> list[Partial]:
    folder = root / name
    partials = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        newest = 0.0
        for parent, _, names in os.walk(path):
            for file in [".", *names]:
                with contextlib.suppress(OSError):
                    newest = max(newest, (Path(parent) / file).lstat().st_mtime)
        partials.append(Partial(path.name.rpartition(".")[0], path, folder_size(path)[0], newest))
    return partials


def ensure_folder(folder: Path) -> Path:
    """A folder of the volume, made if there is none; one that is elsewhere is not used."""
    if folder.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        open_to_group(folder, others=True)
    return folder


def open_to_group(path: Path, *, others: bool = False) -> None:
    """Opens a file or folder to the group: pods that share a volume may run as several users of it."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return
    executable = 0o111 if stat.S_ISDIR(mode) else 0
    with contextlib.suppress(OSError):  # it belongs to another user, who has opened it
        path.chmod(mode | 0o660 | (executable & 0o110) | ((0o004 | executable) if others else 0))
