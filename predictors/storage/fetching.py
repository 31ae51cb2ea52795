"""Which client fetches which URI, and how its files come to lie in one folder.

MLflow's clients fetch what MLflow names and what its artifacts lie on (s3, gs, wasbs, abfss, …): in parallel, and they
keep empty files and refuse names that lead outside. kserve-storage fetches the rest: http(s), Azure's https, hf, hdfs,
git, oci.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from predictors.storage.archives import is_archive, unpack, without_links
from predictors.storage.checksums import folder_size
from predictors.storage.failures import Misconfigured, ModelNotFound, UnsafeArchive
from predictors.storage.provenance import BESIDE, MLMODEL, without_secrets
from predictors.uris import ModelURI, scheme_of

log = logging.getLogger("predictors.storage")

KSERVE = frozenset({"http", "https", "hf", "hdfs", "webhdfs", "oci", "modelscope"})
PVC = "pvc://"
PVC_MOUNT = Path("/mnt/pvc")  # where KServe mounts them for its storage initializer
FICLONE = 0x40049409
EVERY = 5.0  # seconds between lines of progress


def fetch(uri: str, folder: Path, most: int) -> None:
    """Leaves the model's files in the folder, which is empty before; packed ones unpacked, `most` bytes of them."""
    here = local(uri)
    with progress(uri, folder.parent):
        if here:
            copy_local(here, folder)
        elif scheme_of(uri) in KSERVE:
            from_kserve(uri, folder, most)
        else:
            from_mlflow(uri, folder)
        files = list(folder.iterdir())
        if not files:
            raise ModelNotFound(f"{without_secrets(uri)} holds no files")
        if len(files) == 1 and is_archive(files[0]):
            unpacked(files[0], folder, most)
        without_links(folder)
    (folder / BESIDE).unlink(missing_ok=True)  # another one's, which the model was copied with
    hint(uri, folder)


def by_mlflow(uri: str) -> bool:
    return local(uri) is None and scheme_of(uri) not in KSERVE


def local(uri: str) -> Path | None:
    """The path of what lies on a file system here."""
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
    """Without copying any data where the file system can share them."""
    with Path(source).open("rb") as one, Path(target).open("xb") as other:
        try:
            fcntl.ioctl(other.fileno(), FICLONE, one.fileno())
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.ENOSYS):
                raise
        shutil.copyfileobj(one, other, 1 << 20)


def from_mlflow(uri: str, folder: Path) -> None:
    import mlflow.artifacts

    understand_kserve_s3()
    scratch = folder.parent / "arriving"
    scratch.mkdir()
    found = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(scratch)))
    for path in [found] if found.is_file() else list(found.iterdir()):
        path.rename(folder / path.name)
    shutil.rmtree(scratch)


def understand_kserve_s3() -> None:
    """KServe tells credentials and options of S3 in variables of its own; MLflow's client has others for some."""
    said = {**json_in("STORAGE_CONFIG"), **json_in("STORAGE_OVERRIDE_CONFIG")}
    if said.get("type") == "s3":
        for variable, key in (
            ("AWS_ENDPOINT_URL", "endpoint_url"),
            ("AWS_ACCESS_KEY_ID", "access_key_id"),
            ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
            ("AWS_DEFAULT_REGION", "region"),
            ("AWS_CA_BUNDLE", "ca_bundle"),
            ("S3_VERIFY_SSL", "verify_ssl"),
            ("awsAnonymousCredential", "anonymous"),
        ):
            if said.get(key):
                os.environ[variable] = str(said[key])
    environ = {name: value.lower() for name, value in os.environ.items()}
    if environ.get("S3_ENDPOINT") and not environ.get("AWS_ENDPOINT_URL"):
        secure = environ.get("S3_USE_HTTPS", "1") not in ("0", "false")
        os.environ["AWS_ENDPOINT_URL"] = f"http{'s' if secure else ''}://{os.environ['S3_ENDPOINT']}"
    if environ.get("S3_VERIFY_SSL") in ("0", "false"):
        os.environ.setdefault("MLFLOW_S3_IGNORE_TLS", "true")
    if environ.get("S3_USER_VIRTUAL_BUCKET") == "true":
        os.environ.setdefault("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "virtual")
    if environ.get("awsAnonymousCredential") == "true":
        os.environ.setdefault("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION", "unsigned")


def json_in(variable: str) -> dict[str, Any]:
    try:
        said = json.loads(os.environ.get(variable) or "{}")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Misconfigured(f"{variable}: expected a JSON object")
    return said


def from_kserve(uri: str, folder: Path, most: int) -> None:
    if find_spec("kserve_storage") is None:
        raise Misconfigured(f"{scheme_of(uri)}:// needs kserve-storage: pip install 'mlflow-kserve[storage]'")
    from kserve_storage import Storage
    from kserve_storage.logging import logger

    logger.setLevel(logging.CRITICAL)  # it writes URIs as they are, with what is secret in them
    # It would unpack without a limit, and without a look at what is in there.
    Storage._unpack_archive_file = staticmethod(lambda file, mimetype, target=None: target)
    with largest_file(most):  # it unzips what is called .gz while it comes in
        Storage.download(uri, str(folder))


@contextmanager
def largest_file(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if soft < 0 else min(soft, most), hard))
    try:
        yield
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise UnsafeArchive(f"a file is larger than {most} bytes (MAX_UNPACKED_SIZE)") from error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def unpacked(archive: Path, folder: Path, most: int) -> None:
    """An archive of one folder with the model in it is that folder, packed."""
    packed = folder.parent / archive.name
    archive.rename(packed)
    log.info("unpacking %s", archive.name)
    unpack(packed, folder, most)
    packed.unlink()
    inner = list(folder.iterdir())
    if len(inner) == 1 and (inner[0] / MLMODEL).is_file():
        only = inner[0].rename(folder.parent / "inner")
        folder.rmdir()
        only.rename(folder)
        log.info("the model is the folder %s of %s", inner[0].name, archive.name)


def hint(uri: str, folder: Path) -> None:
    """The tree stays as it is, since other runtimes are served from it, too; but it may not be what was meant."""
    if (folder / MLMODEL).is_file():
        return
    below = [path.parent.name for path in folder.glob(f"*/{MLMODEL}")]
    shown = without_secrets(uri).rstrip("/")
    if len(below) == 1:
        log.warning("%s has no MLmodel file, but %s has: %s/%s may be meant", shown, below[0], shown, below[0])
    else:
        log.info("%s has no MLmodel file: it is passed on as it is", shown)


@contextmanager
def progress(uri: str, folder: Path) -> Iterator[None]:
    """A line every few seconds."""
    over = threading.Event()
    begun = time.monotonic()

    def tell() -> None:
        while not over.wait(EVERY):
            size, files = folder_size(folder)
            seconds = time.monotonic() - begun
            log.info(
                "downloading %s: %d files, %.1f MB, %.1f MB/s", without_secrets(uri), files, size / 1e6,
                size / 1e6 / seconds, extra={"files": files, "bytes": size, "seconds": round(seconds, 1)},
            )  # fmt: skip

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
