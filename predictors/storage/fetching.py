"""Fetches the files of a model URI into one folder, with the client that suits its scheme.

MLflow's clients fetch MLflow's own URIs and the stores of its artifacts (s3, gs, wasbs, abfss, …) in parallel; they
keep empty files and refuse names that lead outside. kserve-storage fetches the rest: http(s), Azure's https, hf, hdfs,
git, oci.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from predictors.flavor import MLMODEL
from predictors.storage.archives import is_archive, replace_links, unpack
from predictors.storage.checksums import folder_size
from predictors.storage.failures import Misconfigured, ModelNotFound, UnsafeArchive
from predictors.storage.provenance import PROVENANCE_FILE
from predictors.storage.redaction import without_secrets
from predictors.storage.s3_environment import configure_s3
from predictors.uris import ModelURI, scheme_of

log = logging.getLogger("predictors.storage")

KSERVE_SCHEMES = frozenset({"http", "https", "hf", "hdfs", "webhdfs", "oci", "modelscope"})
PVC = "pvc://"
PVC_MOUNT = Path("/mnt/pvc")  # where KServe mounts claims for its storage initializer
FICLONE = 0x40049409
PROGRESS_INTERVAL = 5.0  # seconds


def fetch(uri: str, folder: Path, max_bytes: int) -> None:
    """Fetches the model's files into an empty folder. An archive is unpacked, to at most `max_bytes`."""
    path = local_path(uri)
    with progress_logged(uri, folder.parent):
        if path:
            copy_local(path, folder)
        elif scheme_of(uri) in KSERVE_SCHEMES:
            fetch_with_kserve(uri, folder, max_bytes)
        else:
            fetch_with_mlflow(uri, folder)
        files = list(folder.iterdir())
        if not files:
            raise ModelNotFound(f"{without_secrets(uri)} holds no files")
        if len(files) == 1 and is_archive(files[0]):
            unpack_model(files[0], folder, max_bytes)
        replace_links(folder)
    (folder / PROVENANCE_FILE).unlink(missing_ok=True)  # of the folder that the model was copied from
    warn_without_mlmodel(uri, folder)


def is_fetched_by_mlflow(uri: str) -> bool:
    return local_path(uri) is None and scheme_of(uri) not in KSERVE_SCHEMES


def local_path(uri: str) -> Path | None:
    """The path of a URI that names a file or folder on a local or mounted file system."""
    if uri.startswith(PVC):
        _, _, path = uri.removeprefix(PVC).partition("/")
        return PVC_MOUNT / path
    return ModelURI.parse(uri).local_folder


def copy_local(source: Path, folder: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, folder, copy_function=copy_file, dirs_exist_ok=True)
    elif source.is_file():
        copy_file(source, folder / source.name)
    else:
        raise ModelNotFound(f"there is no file or folder {source}")


def copy_file(source: str | Path, target: str | Path) -> None:
    """Shares the data instead of copying them if the file system can."""
    if not Path(source).is_file():
        raise UnsafeArchive(f"{source} is a pipe, a socket or a device")
    with Path(source).open("rb") as original, Path(target).open("xb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), FICLONE, original.fileno())
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.ENOSYS):
                raise
        shutil.copyfileobj(original, copy, 1 << 20)


def fetch_with_mlflow(uri: str, folder: Path) -> None:
    import mlflow.artifacts

    configure_s3()
    scratch = folder.parent / "arriving"
    scratch.mkdir()
    downloaded = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(scratch)))
    for path in [downloaded] if downloaded.is_file() else list(downloaded.iterdir()):
        path.rename(folder / path.name)
    shutil.rmtree(scratch)


def fetch_with_kserve(uri: str, folder: Path, max_bytes: int) -> None:
    if find_spec("kserve_storage") is None:
        raise Misconfigured(f"{scheme_of(uri)}:// needs kserve-storage: pip install 'mlflow-kserve[storage]'")
    from kserve_storage import Storage
    from kserve_storage.logging import logger

    logger.setLevel(logging.CRITICAL)  # it logs URIs with their secrets
    # It would unpack without a limit and without checking where members lead.
    Storage._unpack_archive_file = staticmethod(lambda file, mimetype, target=None: target)
    with file_size_limit(max_bytes):  # it decompresses .gz files while it downloads them
        Storage.download(uri, str(folder))


@contextmanager
def file_size_limit(max_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes if soft < 0 else min(soft, max_bytes), hard))
    try:
        yield
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise UnsafeArchive(f"a file is larger than {max_bytes} bytes (MAX_UNPACKED_SIZE)") from error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def unpack_model(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpacks an archive; if it contains a single folder with a model, that folder is the model."""
    packed = folder.parent / archive.name
    archive.rename(packed)
    log.info("unpacking %s", archive.name)
    unpack(packed, folder, max_bytes)
    packed.unlink()
    inner = list(folder.iterdir())
    if len(inner) == 1 and (inner[0] / MLMODEL).is_file():
        model = inner[0].rename(folder.parent / "inner")
        folder.rmdir()
        model.rename(folder)
        log.info("the model is the folder %s of %s", inner[0].name, archive.name)


def warn_without_mlmodel(uri: str, folder: Path) -> None:
    """Other runtimes serve models without an MLmodel file, so this is no error; but the URI may be wrong."""
    if (folder / MLMODEL).is_file():
        return
    below = [path.parent.name for path in folder.glob(f"*/{MLMODEL}")]
    shown = without_secrets(uri).rstrip("/")
    if len(below) == 1:
        log.warning("%s has no MLmodel file, but %s has: %s/%s may be meant", shown, below[0], shown, below[0])
    else:
        log.info("%s has no MLmodel file: its files are passed on unchanged", shown)


@contextmanager
def progress_logged(uri: str, folder: Path) -> Iterator[None]:
    done = threading.Event()
    started = time.monotonic()

    def log_progress() -> None:
        while not done.wait(PROGRESS_INTERVAL):
            size, files = folder_size(folder)
            seconds = time.monotonic() - started
            log.info(
                "downloading %s: %d files, %.1f MB, %.1f MB/s", without_secrets(uri), files, size / 1e6,
                size / 1e6 / seconds, extra={"files": files, "bytes": size, "seconds": round(seconds, 1)},
            )  # fmt: skip

    thread = threading.Thread(target=log_progress, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
