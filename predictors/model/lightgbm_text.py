"""The text of a LightGBM model: where some of it is missing, LightGBM may end the process and not raise an error."""

from __future__ import annotations

import re
from pathlib import Path

from predictors.model.loaded import LoadError

FIRST_TREE = b"\nTree=0\n"
TREE_SIZES = re.compile(rb"^tree_sizes=([\d ]*)$", re.MULTILINE)
END_OF_TREES, END_OF_PARAMETERS, CATEGORIES = b"end of trees", b"\nend of parameters", b"\npandas_categorical:"


def check_text(file: Path) -> None:
    """Raises `LoadError` if the file is cut off."""
    text = file.read_bytes()
    if missing := what_is_missing(text):
        raise LoadError(f"the LightGBM model {file} is cut off: {missing} ({len(text)} bytes)")


def what_is_missing(text: bytes) -> str:
    """The first part that is not there, or an empty text."""
    sizes, end = TREE_SIZES.search(text), text.find(b"\n" + END_OF_TREES)
    if sizes is None:
        return "" if end >= 0 else "it has no trees"
    expected = sum(map(int, sizes[1].split()))
    start = text.find(FIRST_TREE) + 1
    if expected and (not start or not text.startswith(END_OF_TREES, start + expected)):
        return f"its trees take {expected} bytes, and are not all there"
    if end < 0:
        return "its trees do not end"
    # Without its last line, the numbers of categories are lost, and predictions differ.
    if END_OF_PARAMETERS not in text[end:] and CATEGORIES not in text[end:]:
        return "its parameters do not end"
    return ""
