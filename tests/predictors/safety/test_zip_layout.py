"""An archive opens if every program would read the same in it."""

from __future__ import annotations

import io
import zipfile

import pytest

from predictors.safety import zip_layout
from predictors.safety.zip_layout import open_strictly
from tests.predictors.safety.two_faced import two_faced


def archive(*names: str, comment: bytes = b"") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        for name in names:
            written.writestr(name, name)
        written.comment = comment
    return content.getvalue()


def with_end64(content: bytes, **changed: int) -> bytes:
    """The archive with the end records of zip64, which torch always writes."""
    _, _, _, _, listed, length, start, _ = zip_layout.END.unpack(content[-22:])
    value = {
        "listed": listed,
        "length": length,
        "start": start,
        "at": len(content) - 22,
        "told": 0xFFFF_FFFF,
        **changed,
    }
    end64 = zip_layout.END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, listed, value["listed"], value["length"], value["start"])
    locator = zip_layout.LOCATOR.pack(b"PK\6\7", 0, value["at"], 1)
    return (
        content[:-22] + end64 + locator + zip_layout.END.pack(b"PK\5\6", 0, 0, listed, listed, length, value["told"], 0)
    )


PLAIN = archive("a", "b/c.pt")


@pytest.mark.parametrize("content", [PLAIN, archive(), with_end64(PLAIN)])
def test_plain_archives_open(content: bytes) -> None:
    opened = open_strictly(io.BytesIO(content))
    assert [opened.read(name).decode() for name in opened.namelist()] == opened.namelist()


@pytest.mark.parametrize(
    "content",
    [
        two_faced({"a": b"shown"}, {"a": b"hidden"}),
        b"in front" + PLAIN,
        archive("a", comment=b"a comment"),
        with_end64(PLAIN, told=0),
        with_end64(PLAIN, at=0),
        with_end64(PLAIN, listed=1),
        archive("a", "A"),
        archive("a", "a"),
        archive("a.ptxb").replace(b"a.ptxb", b"a.pt\0b"),
        b"",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_with_two_readings_are_refused(content: bytes) -> None:
    with pytest.raises(zipfile.BadZipFile):
        open_strictly(io.BytesIO(content))


def test_zipfile_reads_a_two_faced_archive() -> None:
    """So the refusal is not for nothing."""
    with zipfile.ZipFile(io.BytesIO(two_faced({"a": b"shown"}, {"a": b"hidden"}))) as lenient:
        assert lenient.read("a") == b"shown"
