"""KServe's CRDs: from --crds, or from a shared folder beside the checkout when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.crds import Crds, load

BESIDE = Path(__file__).parents[3] / "shared" / "kserve-crds"


@pytest.fixture(scope="session")
def optional_crds(request: pytest.FixtureRequest) -> Crds | None:
    """KServe's CRDs, or None when they are not at hand."""
    folder: Path | None = request.config.getoption("--crds") or (BESIDE if BESIDE.is_dir() else None)
    return load(folder) if folder else None


@pytest.fixture(scope="session")
def kserve_crds(optional_crds: Crds | None) -> Crds:
    if optional_crds is None:
        pytest.skip("KServe's CRDs are not here; pytest's --crds names their folder")
    return optional_crds
