"""The real kubectl, without a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
import yaml

needed = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def patched(resource: dict[str, Any], content: Any, kind: str) -> dict[str, Any]:
    """What kubectl makes of a resource and a patch."""
    text = json.dumps(resource)
    arguments = ("patch", "--local", f"--type={kind}", "--filename", "-", "--patch", json.dumps(content))
    return dict(yaml.safe_load(kubectl(*arguments, "--output", "yaml", stdin=text)))


def parsed(text: str) -> list[dict[str, Any]]:
    """The documents that kubectl reads in a text; it takes them through a harmless change, for without one it asks a cluster."""
    annotated = kubectl("annotate", "--local", "--filename", "-", "read=yes", "--output", "yaml", stdin=text)
    documents: list[dict[str, Any]] = [document for document in yaml.safe_load_all(annotated) if document]
    for document in documents:
        notes = document["metadata"]["annotations"]
        del notes["read"]
        if not notes:
            del document["metadata"]["annotations"]
    return documents
