"""What a person does on the page, click by click."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.backends.backend import Key
from monitoring.verdict import PodScraper
from tests.browser import Browser
from tests.mlflow_kserve.served_plane import ServedPlane
from tests.serving import Running, in_thread, wait_for


class PlaneApi:
    """What the API says, beside the browser."""

    def __init__(self, plane: ServedPlane) -> None:
        self.client = httpx.Client(base_url=f"{plane.url}/api/v1", timeout=30)

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def deploy(self, serve: str, uri: str, env: str = "local", **fields: Any) -> None:
        body = {"serve_name": serve, "model_uri": uri, "env": env, **fields}
        reply = self.client.post("/serve/deploy-model", json=body).raise_for_status().json()
        wait_for(lambda: self.get(f"/operation/{reply['operation']['id']}")["state"] != "RUNNING", seconds=30)

    def revision(self, serve: str, env: str = "local") -> Any:
        return self.get(f"/serve/{serve}/status/{env}")["revision"]


@pytest.fixture
def api(up: ServedPlane) -> PlaneApi:
    return PlaneApi(up)


def test_deploy(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    browser.open(f"{up.url}/")
    browser.wait_text("Nothing is deployed yet")
    browser.follow("main a[href$='/deploy']")
    browser.fill("#serve_name", "fraud")
    browser.fill("#model_uri", "models:/fraud")
    browser.follow("button.primary")
    assert "names no version" in browser.text(".problem")
    assert browser.run("document.querySelector('#model_uri').getAttribute('aria-invalid')") == "true"
    assert browser.run("document.querySelector('#serve_name').value") == "fraud"
    browser.fill("#model_uri", "models:/fraud/1")
    browser.fill("#cores", "two")
    browser.follow("button.primary")
    assert "cores: is 'two'" in browser.text(".problem")
    browser.fill("#cores", "2")
    browser.fill("#environment_variables", "LEVEL=info\nGREETING=a = b")
    browser.follow("button[formaction]")
    browser.wait_text("It can be deployed.")
    assert "infra.resources.cores: nothing → 2" in browser.text(".note")
    assert api.get("/serve")["total"] == 0
    browser.follow("button.primary")
    browser.wait_text("running, revision 1")
    content = api.get("/serve/fraud/revisions/local/1")["content"]
    assert content["deployment"]["environment_variables"] == {"LEVEL": "info", "GREETING": "a = b"}


def test_what_others_do_is_seen_without_a_click(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    browser.open(f"{up.url}/ui/")
    browser.run("window.same = true")
    api.deploy("fraud", "models:/fraud/1")
    browser.wait_text("models:/fraud/1")
    browser.wait_text("1 running")
    browser.follow("#serve-1")
    up.backend.slow.add("models:/fraud/2")
    body = {"serve_name": "fraud", "model_uri": "models:/fraud/2", "env": "local"}
    api.client.post("/serve/deploy-model", json=body).raise_for_status()
    browser.wait_text("Deploy of revision 2 is under way")
    browser.follow("#abort")
    browser.wait_text("aborted by anybody on this machine")
    assert api.revision("fraud") == 1


def test_compare_and_roll_back(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    for number in (1, 2, 3):
        api.deploy("fraud", f"models:/fraud/{number}", cores=number)
    browser.open(f"{up.url}/ui/serve/fraud/local")
    browser.click("input[name=from][value='1']")
    browser.follow("#compare")
    assert "models:/fraud/1\tmodels:/fraud/3" in browser.text("table")
    assert "infra.resources.cores\t1\t3" in browser.text("table")
    browser.follow(".above a")
    browser.follow("#roll-back-1")
    assert "From revision 3 to 1" in browser.text()
    browser.fill("#reason", "the new one is slow")
    browser.follow("button.primary")
    browser.wait_text("running, revision 4")
    row = api.get("/serve/fraud/revisions/local/4")
    assert (row["restores"], row["reason"]) == (1, "the new one is slow")


def test_a_button_does_not_undo_what_the_person_has_not_seen(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    for number in (1, 2):
        api.deploy("fraud", f"models:/fraud/{number}")
    browser.open(f"{up.url}/ui/serve/fraud/local/roll-back?revision=1")
    api.deploy("fraud", "models:/fraud/3")
    browser.follow("button.primary")
    assert "Changed meanwhile" in browser.text("h1")
    assert api.revision("fraud") == 3


def test_undeploy_and_delete(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    api.deploy("fraud", "models:/fraud/1")
    browser.open(f"{up.url}/ui/serve/fraud/local")
    browser.follow("#delete")
    browser.wait_text("Undeploy it there first")
    browser.follow("main .buttons a")
    browser.follow("button.danger")
    browser.wait_text("stopped")
    browser.follow("#delete")
    browser.fill("#name", "other")
    browser.follow("button.danger")
    assert "is not the name of the serve" in browser.text(".problem")
    browser.fill("#name", "fraud")
    browser.follow("button.danger")
    browser.wait_text("Nothing is deployed yet")
    assert api.get("/serve")["total"] == 0


def test_the_routes_of_the_api(browser: Browser, up: ServedPlane) -> None:
    browser.open(f"{up.url}/docs")
    browser.wait_text("Deploy a model in one step", "#swagger")


def test_filter(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    for serve in ("fraud", "prices", "ranker"):
        api.deploy(serve, f"models:/{serve}/1")
    browser.open(f"{up.url}/ui/")
    browser.fill("#text", "ice")
    wait_for(lambda: "fraud" not in browser.text(".fleet"), seconds=30)
    assert "prices" in browser.text(".fleet")
    assert browser.run("location.search").startswith("?text=ice")
    browser.open(str(browser.run("location.href")))
    assert "fraud" not in browser.text(".fleet")


def test_keys_are_enough(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    api.deploy("fraud", "models:/fraud/1")
    browser.open(f"{up.url}/ui/serve/fraud/local/undeploy")
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    browser.press("Enter")
    browser.press("Tab")  # the way back
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Undeploy"
    browser.run("window.before = true")
    browser.press("Enter")
    browser.settle()
    browser.wait_text("stopped")
    assert api.get("/serve/fraud/status/local")["desired_revision"] is None


def test_focus_stays_when_the_page_is_refreshed(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    api.deploy("fraud", "models:/fraud/1")
    browser.open(f"{up.url}/ui/")
    browser.focus("#serve-1")
    api.deploy("prices", "models:/prices/1")
    browser.wait_text("prices")
    assert browser.run("document.activeElement.id") == "serve-1"


def test_environments(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    browser.open(f"{up.url}/ui/environments")
    browser.follow("main .buttons a")
    browser.fill("#name", "staging")
    browser.fill("[name='quotas.cores']", "2.5")
    browser.fill("#spec", '{"replicas": {"max": 3}, "scaling": "70% CPU"}')
    browser.follow("button.primary")
    config = api.get("/environment/staging")["environment_configs"]
    assert config["quotas"]["cores"] == 2.5
    assert config["spec"] == {"replicas": {"max": 3}, "scaling": "70% CPU"}
    browser.fill("#spec", '{"replicas": {"max": 4}}')
    browser.fill("[name='quotas.cores']", "")
    browser.follow("button.primary")
    config = api.get("/environment/staging")["environment_configs"]
    assert (config["quotas"]["cores"], config["spec"]) == (None, {"replicas": {"max": 4}})
    browser.follow("a[href$='/environment/staging']")
    browser.fill("#spec", '{"replica": 1}')
    browser.follow("button.primary")
    assert "replica" in browser.text(".problem")
    browser.follow("a[href*='delete-environment']")
    browser.follow("button.danger")
    assert "staging" not in browser.text()


def test_audit(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    api.deploy("fraud", "models:/fraud/1")
    api.deploy("prices", "models:/prices/1")
    browser.open(f"{up.url}/ui/audit")
    assert browser.text("tbody tr").split("\t")[1:4] == ["prices", "local", "deploy.succeeded"]
    browser.fill("#serve", "fraud")
    browser.follow(".filter button")
    assert "prices" not in browser.text("table")
    browser.run("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert "models:/fraud/1" in browser.text("table")


def test_ask_the_model(browser: Browser, up: ServedPlane, api: PlaneApi, tmp_path: Path) -> None:
    api.deploy("machines", "models:/machines/1")
    browser.open(f"{up.url}/ui/serve/machines/local/playground")
    assert browser.run("document.querySelector('[name=\"column:temperature\"]').value") == "64.2"
    browser.fill("[name='column:temperature']", "91,5")
    browser.click("button[value=fields]")
    browser.wait_text("temperature: is '91,5'", "#answers")
    browser.fill("[name='column:temperature']", "91.5")
    browser.fill("[name='column:vibration']", "")
    browser.click("button[value=fields]")
    browser.wait_text("vibration", "pre.answer")
    for column, value in {"vibration": "1.05", "months_since_service": "41", "load": "0.9"}.items():
        browser.fill(f"[name='column:{column}']", value)
    browser.run("document.querySelector('#method').value = 'predict_proba'")
    browser.click("button[value=fields]")
    wait_for(lambda: "predictions" in browser.text("pre.answer"), seconds=30)
    answer = json.loads(browser.text("pre.answer"))
    assert len(answer["predictions"][0]) == 2
    curl = subprocess.run(["bash", "-c", browser.text("pre[aria-label=curl]")], capture_output=True, text=True)
    assert json.loads(curl.stdout)["predictions"] == answer["predictions"]
    python = subprocess.run(
        [sys.executable, "-c", browser.text("pre[aria-label=Python]")], capture_output=True, text=True
    )
    assert str(answer["predictions"]) in python.stdout


def test_ask_two_at_once(browser: Browser, up: ServedPlane, api: PlaneApi, model: Running, another: Running) -> None:
    api.client.post("/environment", json={"name": "staging"}).raise_for_status()
    api.deploy("machines", "models:/machines/1")
    api.deploy("machines", "models:/machines/2", env="staging")
    up.backend.addresses[Key("staging", "machines")] = another.url
    browser.open(f"{up.url}/ui/serve/machines/local/playground?protocol=v2")
    browser.run("document.querySelector('#b').value = 'staging@'")
    browser.click("button[value=body]")
    browser.wait_text("From the first answer to the second")
    assert browser.run("document.querySelectorAll('pre.answer').length") == 2
    assert "model_version\t1\t7" in browser.text(".changes")


@pytest.fixture
def another(model: Running) -> Any:
    with in_thread(None, model_name="machines", model_version="7") as running:
        yield running


def test_a_refusal_is_shown(browser: Browser, up: ServedPlane, api: PlaneApi) -> None:
    api.deploy("machines", "models:/machines/1")
    browser.open(f"{up.url}/ui/serve/machines/local/playground")
    api.client.post("/serve/machines/undeploy/local").raise_for_status()
    wait_for(lambda: api.get("/serve/machines/status/local")["operation"] is None, seconds=30)
    browser.click("button[value=fields]")
    browser.wait_text("machines does not answer in local")


@pytest.fixture(scope="module")
def drifting() -> Iterator[Running]:
    """A model whose requests have moved since the first hundred rows."""
    row = {"temperature": 60.0, "vibration": 1.0, "months_since_service": 10, "load": 0.5}
    rows = [{**row, "temperature": 60.0 + number % 10} for number in range(100)]
    with in_thread(
        None, model_name="machines", drift="on", drift_baseline_rows=100, drift_min_rows=50, drift_interval=0.1
    ) as running:
        running.predict({"instances": rows}).raise_for_status()
        wait_for(lambda: "model_drift_window_rows" in running.get("/metrics").text, seconds=30)
        hotter = [{**each, "temperature": each["temperature"] + 30} for each in rows]
        running.predict({"instances": hotter}).raise_for_status()
        wait_for(lambda: "model_feature_psi{" in running.get("/metrics").text, seconds=30)
        yield running


def test_drift(
    browser: Browser, up: ServedPlane, api: PlaneApi, drifting: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up.backend, "counters", lambda key, revision: PodScraper([drifting.url]))
    assert api.client.get("/serve/machines/drift/local").status_code == 404
    api.deploy("machines", "models:/machines/1")
    read = api.get("/serve/machines/drift/local")
    assert (read["revision"], read["pods"], read["answered"]) == (1, 1, 1)
    states = {(each["kind"], each["name"]): each["state"] for each in read["columns"]}
    assert states["input", "temperature"] == "drifted"
    assert states["input", "load"] == "steady"
    browser.open(f"{up.url}/ui/serve/machines/local")
    browser.wait("#drift table")
    assert "temperature\tinput" in browser.text("#drift tbody")
    browser.open(f"{up.url}/ui/serve/machines/local/drift")
    assert browser.text("tbody tr").endswith("drifted")
    monkeypatch.setattr(up.backend, "counters", lambda key, revision: PodScraper(["http://127.0.0.1:9"]))
    browser.open(f"{up.url}/ui/serve/machines/local/drift")
    assert "cannot be read" in browser.text("#drift")
    assert api.client.get("/serve/machines/drift/local?revision=7").status_code == 404
