"""Every page, in light and dark, wide and narrow: what a program can say of its looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.page.files import FILES
from tests.browser import Browser
from tests.controlplane.page.rules import RULES
from tests.mlflow_kserve.served_plane import ServedPlane, served_plane
from tests.serving import Running, wait_for

MAX_PAGE = 100_000  # bytes, with everything that belongs to it
PAGES = {
    "fleet": "/",
    "serve": "/serve/machines/local",
    "failed": "/serve/churn/local",
    "changing": "/serve/ranker/local",
    "undeployed": "/serve/none-yet",
    "diff": "/serve/machines/local/diff?from=1&to=2",
    "drift": "/serve/machines/local/drift",
    "logs": "/serve/machines/local/logs",
    "roll-back": "/serve/machines/local/roll-back?revision=1",
    "undeploy": "/serve/machines/local/undeploy",
    "delete": "/delete-serve/none-yet",
    "deploy": "/deploy?serve=machines&env=local",
    "playground": "/serve/machines/local/playground",
    "environments": "/environments",
    "environment": "/environment/staging",
    "new-environment": "/new-environment",
    "delete-environment": "/delete-environment/staging",
    "audit": "/audit",
    "problem": "/serve/nothing",
}


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, model: Running) -> Iterator[ServedPlane]:
    """A control plane in which things have happened."""
    with served_plane(tmp_path_factory.mktemp("plane")) as plane, httpx.Client(base_url=plane.url + "/api/v1") as api:
        plane.backend.address = model.url
        plane.backend.broken.add("models:/churn/2")
        plane.backend.slow.add("models:/ranker/1")

        def deploy(serve: str, uri: str, **fields: object) -> str:
            body = {"serve_name": serve, "model_uri": uri, "env": "local", **fields}
            return str(api.post("/serve/deploy-model", json=body).raise_for_status().json()["operation"]["id"])

        def ended(operation: str) -> None:
            wait_for(lambda: api.get(f"/operation/{operation}").json()["state"] != "RUNNING", seconds=30)

        api.post("/environment", json={"name": "staging", "quotas": {"serves": 20}}).raise_for_status()
        api.post("/serve", json={"name": "none-yet", "space": "risk"}).raise_for_status()
        ended(deploy("machines", "models:/machines/1", reason="the first"))
        ended(deploy("machines", "models:/machines/2", cores=2, environment_variables={"LEVEL": "info"}))
        ended(deploy("churn", "models:/churn/1"))
        ended(deploy("churn", "models:/churn/2"))
        deploy("ranker", "models:/ranker/1")
        yield plane


@pytest.mark.parametrize("name", PAGES)
def test_every_page_keeps_the_rules(name: str, browser: Browser, lived_in: ServedPlane, tmp_path: Path) -> None:
    browser.open(f"{lived_in.url}/ui{PAGES[name]}")
    if name == "playground":
        browser.click("button[value=fields]")
        browser.wait("pre.answer")
    for details in ("false", "true"):
        browser.run(f"document.querySelectorAll('details').forEach((each) => each.open = {details})")
        for scheme in ("light", "dark"):
            browser.emulate(scheme)
            for width in (1200, 360):
                browser.screenshot(tmp_path / f"{name}-{scheme}-{width}.png", width)
                broken = browser.run(RULES)
                assert broken == [], "\n".join([f"{scheme}, {width} wide", *broken])
    browser.emulate("light")
    size = len(httpx.get(f"{lived_in.url}/ui{PAGES[name]}").content) + sum(map(len, FILES.values()))
    assert size < MAX_PAGE


def test_a_broken_rule_is_noticed(browser: Browser, lived_in: ServedPlane) -> None:
    browser.open(f"{lived_in.url}/ui/")
    browser.run("document.querySelector('label').remove()")
    browser.run("document.querySelector('h1').className = 'faint'")
    browser.run("document.styleSheets[0].insertRule('.faint { color: #999 }')")
    broken = browser.run(RULES)
    assert [each.partition(":")[0] for each in broken] == ["it has no name", "the contrast is 2.80"]
