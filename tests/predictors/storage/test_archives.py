"""Archives are unpacked into the folder, and nothing lands outside of it."""

from __future__ import annotations

import bz2
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictors.storage.archives import Allowance, copy_link_target, replace_links, unpack
from predictors.storage.failures import UnsafeArchive, VolumeError

NO_LIMIT = 1 << 30


def tar(path: Path, *members: tarfile.TarInfo, mode: Literal["w", "w:gz"] = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def zipped(path: Path, **names: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz", "m.tgz"])
def test_files_and_folders_are_unpacked(tmp_path: Path, folder: Path, name: str) -> None:
    if name == "m.zip":
        zipped(tmp_path / name, **{"MLmodel": b"", "data/": b"", "data/a": b"xxx", "./code/b.py": b"x"})
    else:
        files = (
            member("./MLmodel"),
            member("data", tarfile.DIRTYPE),
            member("data/a", size=3),
            member("code/b.py", size=1),
        )
        tar(tmp_path / name, *files, mode="w:gz" if "gz" in name else "w")
    unpack(tmp_path / name, folder, NO_LIMIT)
    assert tree(folder) == {"MLmodel": b"", "data/a": b"xxx", "code/b.py": b"x"}


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/tmp/out", "a\\..\\..\\out"])
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, folder: Path, name: str, suffix: str) -> None:
    archive = tmp_path / f"m.{suffix}"
    zipped(archive, **{name: b"x"}) if suffix == "zip" else tar(archive, member(name, size=1))
    with pytest.raises(UnsafeArchive, match="outside of the archive"):
        unpack(archive, folder, NO_LIMIT)
    assert not tree(folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([member("a", tarfile.SYMTYPE, "/etc/passwd")], "the link 'a' leads to '/etc/passwd'"),
        ([member("a/b", tarfile.SYMTYPE, "../../x")], "outside of the archive"),
        ([member("a", tarfile.LNKTYPE, "../x")], "outside of the archive"),
        ([member("a", tarfile.SYMTYPE, "nothing")], "does not lead to a file in the archive"),
        (
            [member("a", tarfile.SYMTYPE, "b"), member("b", tarfile.SYMTYPE, "a")],
            "does not lead to a file in the archive",
        ),
        (
            [member("d", tarfile.SYMTYPE, "."), member("d/x", size=1)],
            "does not lead to a file|both a file and a folder",
        ),
        ([member("p", tarfile.FIFOTYPE)], "a device or a pipe"),
        ([member("c", tarfile.CHRTYPE)], "a device or a pipe"),
        ([member("f", size=1), member("f/x", size=1)], "both a file and a folder"),
        ([member("f", size=1), member("f", tarfile.DIRTYPE)], "both a file and a folder"),
        ([member("f", size=1), member("f/d", tarfile.DIRTYPE)], "both a file and a folder"),
    ],
    ids=[
        "absolute",
        "above",
        "hard",
        "dangling",
        "circle",
        "folder",
        "pipe",
        "device",
        "below-a-file",
        "folder-over-file",
        "folder-below-a-file",
    ],
)
def test_links_outside_and_devices_are_refused(
    tmp_path: Path, folder: Path, members: list[tarfile.TarInfo], words: str
) -> None:
    with pytest.raises(UnsafeArchive, match=words):
        unpack(tar(tmp_path / "m.tar", *members), folder, NO_LIMIT)
    assert not any(path.is_symlink() for path in folder.rglob("*"))


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_names_with_control_characters_are_refused(tmp_path: Path, folder: Path, suffix: str) -> None:
    """A line break could make a line of its own in a log, or in what the digest of a model is computed from."""
    archive, name = tmp_path / f"m.{suffix}", "a\nb"
    zipped(archive, **{name: b"x"}) if suffix == "zip" else tar(archive, member(name, size=1))
    with pytest.raises(UnsafeArchive, match=r"'a\\nb' holds a control character"):
        unpack(archive, folder, NO_LIMIT)


def test_a_long_chain_of_links_is_followed_once(tmp_path: Path, folder: Path) -> None:
    class CountedLinks(dict[PurePosixPath, PurePosixPath]):
        steps = 0

        def __getitem__(self, key: PurePosixPath) -> PurePosixPath:
            self.steps += 1
            return super().__getitem__(key)

    (folder / "f").write_bytes(b"x")
    names = [PurePosixPath(f"l{number}") for number in range(200)]
    links = CountedLinks(zip(names, [*names[1:], PurePosixPath("f")], strict=True))
    for name in links:
        copy_link_target(folder, name, links, Allowance("m.tar", NO_LIMIT, NO_LIMIT))
    assert tree(folder) == {"f": b"x"} | {str(name): b"x" for name in names}
    assert links.steps < 4 * len(links)


def with_size(header: bytes, size: int) -> bytes:
    """The header of a tar member with another size, in GNU's binary form, and the checksum for it."""
    changed = bytearray(header)
    changed[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 else b"%011o\0" % size
    changed[148:156] = b"%06o\0 " % (256 + sum(changed[:148]) + sum(changed[156:512]))
    return bytes(changed)


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [
        (tarfile.REGTYPE, -1024, "claims -1024 bytes"),
        (tarfile.XHDTYPE, 1 << 30, f"claims {1 << 30} bytes"),
        (tarfile.XGLTYPE, 1 << 30, f"claims {1 << 30} bytes"),
        (tarfile.GNUTYPE_LONGNAME, 1 << 30, f"claims {1 << 30} bytes"),
        (tarfile.GNUTYPE_LONGLINK, -1, "claims -1 bytes"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_headers_of_a_tar_file_are_bounded(
    tmp_path: Path, folder: Path, kind: bytes, size: int, words: str, first: bool
) -> None:
    """tarfile would read an extended header of any size into memory, and go backwards for a negative size."""
    header = with_size(member("a", kind).tobuf(tarfile.GNU_FORMAT), size)
    archive = tmp_path / "m.tar"
    archive.write_bytes((b"" if first else member("b").tobuf()) + header + bytes(10240))
    with pytest.raises(UnsafeArchive, match=words):
        unpack(archive, folder, NO_LIMIT)


def test_a_negative_size_in_an_extended_header(tmp_path: Path, folder: Path) -> None:
    info = member("a")
    info.pax_headers = {"size": "-1024"}
    with pytest.raises(UnsafeArchive, match="a file with a negative size"):
        unpack(tar(tmp_path / "m.tar", info, member("b")), folder, NO_LIMIT)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_python_inflates_at_once_are_refused(tmp_path: Path, folder: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w", method) as archive:
        archive.writestr("a", bytes(1 << 20))
    with pytest.raises(UnsafeArchive, match="'a' is not compressed with deflate"):
        unpack(tmp_path / "m.zip", folder, NO_LIMIT)


def test_a_tar_file_of_another_compression_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(bz2.compress(tar(tmp_path / "m.tar", member("a")).read_bytes()))
    with pytest.raises(UnsafeArchive, match=r"m\.tar\.gz cannot be read as an archive"):
        unpack(tmp_path / "m.tar.gz", folder, NO_LIMIT)


def test_links_inside_become_copies(tmp_path: Path, folder: Path) -> None:
    links = (
        member("e/l", tarfile.SYMTYPE, "../d/f"),
        member("h", tarfile.LNKTYPE, "d/f"),
        member("s", tarfile.SYMTYPE, "h"),
    )
    unpack(tar(tmp_path / "m.tar", *links, member("d/f", size=2)), folder, NO_LIMIT)
    assert tree(folder) == dict.fromkeys(("d/f", "e/l", "h", "s"), b"xx")
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_link_in_a_zip_file_is_refused(tmp_path: Path, folder: Path) -> None:
    link = zipfile.ZipInfo("l")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeArchive, match="'l' is a link or a device"):
        unpack(tmp_path / "m.zip", folder, NO_LIMIT)


@pytest.mark.parametrize("name", ["m.zip", "m.tgz"])
def test_an_archive_bomb_is_refused(tmp_path: Path, folder: Path, name: str) -> None:
    size = 5_000_000
    if name == "m.zip":
        zipped(tmp_path / name, a=bytes(size), b=bytes(size))
    else:
        tar(tmp_path / name, member("a", size=size), member("b", size=size), mode="w:gz")
    with pytest.raises(UnsafeArchive, match="more than 6000000 bytes"):
        unpack(tmp_path / name, folder, 6_000_000)
    assert sum(map(len, tree(folder).values())) <= size


def test_an_archive_larger_than_the_free_space_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = tar(tmp_path / "m.tar", member("a", size=1))
    content = bytearray(archive.read_bytes())
    huge = member("a", size=8**11 - 1).tobuf()  # claims 8 GiB, which is more than the file holds
    archive.write_bytes(bytes(huge) + content[512:])
    with pytest.raises((VolumeError, UnsafeArchive)):
        unpack(archive, folder, 1 << 60)


@pytest.mark.parametrize("name", ["m.zip", "m.tar", "m.tar.gz"])
def test_a_file_that_is_no_archive(tmp_path: Path, folder: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(UnsafeArchive, match="cannot be read as an archive"):
        unpack(tmp_path / name, folder, NO_LIMIT)


@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz"])
def test_a_truncated_archive(tmp_path: Path, folder: Path, name: str) -> None:
    content = os.urandom(200_000)
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        info = member("a", size=len(content))
        archive.addfile(info, io.BytesIO(content))
    zipped(tmp_path / "m.zip", a=content)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsafeArchive):
        unpack(tmp_path / name, folder, NO_LIMIT)


NAMES = st.lists(st.sampled_from(["..", ".", "a", "b", "", "/", "l"]), min_size=1, max_size=5).map("/".join)
MEMBERS = st.lists(
    st.tuples(NAMES, st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]), NAMES),
    max_size=6,
)


@given(MEMBERS)
def test_nothing_ever_lands_outside(members: list[tuple[str, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        target = base / "1" / "2" / "3"
        target.mkdir(parents=True)
        archive = tar(
            base / "m.tar", *(member(name, kind, link, size=kind == tarfile.REGTYPE) for name, kind, link in members)
        )
        try:
            unpack(archive, target, NO_LIMIT)
        except UnsafeArchive:
            pass
        outside = [path for path in base.rglob("*") if not path.is_relative_to(target)]
        assert {str(path.relative_to(base)) for path in outside} == {"m.tar", "1", "1/2"}
        assert not any(path.is_symlink() for path in target.rglob("*"))


def test_links_of_a_downloaded_tree(tmp_path: Path, folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    (folder / "l").symlink_to("a")
    replace_links(folder)
    assert tree(folder) == {"a": b"1", "l": b"1"}
    assert not (folder / "l").is_symlink()
    (folder / "out").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeArchive, match="the link 'out' does not lead to a file of the model"):
        replace_links(folder)
