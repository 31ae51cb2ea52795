"""The style sheet and the scripts of the page."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from controlplane.domain.problems import not_found

router = APIRouter()

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.suffix in TYPES}
VERSION = hashlib.sha256(b"".join(FILES[name] for name in sorted(FILES))).hexdigest()[:12]
"""Part of the addresses of the files, so that browsers may keep them."""


@router.get("/static/{version}/{name}")
def file(version: str, name: str) -> Response:
    if name not in FILES:
        raise not_found("file", name[:60], "the page names those there are")
    return Response(
        FILES[name],
        media_type=TYPES[Path(name).suffix],
        headers={"cache-control": "public, max-age=31536000, immutable"},
    )
