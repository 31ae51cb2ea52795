"""The dashboards as Grafana reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.assets import ALL_BOARDS, config_map, dashboards
from monitoring.scope import Scope
from tests.monitoring.queries import BOARDS, FOLDER
from tools.dashboards import contents


def test_what_is_written_is_what_the_code_makes() -> None:
    files = contents()
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in files} == set(ALL_BOARDS)
    for path, text in files.items():
        assert path.read_text() == text, "run: make dashboards"


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_grafanas_library_reads_it(name: str) -> None:
    read = Dashboard.from_json(BOARDS[name])
    assert read.uid == BOARDS[name]["uid"]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_panels_have_places_of_their_own(name: str) -> None:
    occupied: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & occupied, panel["title"]
        occupied |= cells
    ids = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_query_goes_to_the_chosen_source(name: str) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in BOARDS[name]["panels"]:
        if panel["type"] != "row":
            assert [panel["datasource"], *(each["datasource"] for each in panel["targets"])] == [chosen] * (
                1 + len(panel["targets"])
            )


def test_variables_links_and_marks() -> None:
    wanted = {
        "serve-overview": ["datasource", "namespace", "serve", "version"],
        "rollout": ["datasource", "namespace", "serve", "version"],
        "features-drift": ["datasource", "namespace", "serve", "version"],
        "fleet": ["datasource", "namespace"],
    }
    assert {name: names(board) for name, board in BOARDS.items()} == wanted
    for board in BOARDS.values():
        (link,) = board["links"]
        assert link["type"] == "dashboards"
        assert set(link["tags"]) <= set(board["tags"])
        assert link["includeVars"]
        assert link["keepTime"]
    for name in ("serve-overview", "rollout", "features-drift"):
        listed = BOARDS[name]["annotations"]["list"]
        assert [mark["name"] for mark in listed] == ["Version taken", "Reload failing", "Pods of a revision"]
        assert all(mark["titleFormat"] for mark in listed)


def names(board: Any) -> list[str]:
    return [variable["name"] for variable in board["templating"]["list"]]


def test_the_fleet_leads_to_the_serves() -> None:
    links = [
        value["value"][0]["url"]
        for panel in BOARDS["fleet"]["panels"]
        for each in panel.get("fieldConfig", {}).get("overrides", [])
        for value in each["properties"]
        if value["id"] == "links"
    ]
    overview = BOARDS["serve-overview"]["uid"]
    (link,) = links
    path, _, asked = link.partition("?")
    assert path == f"/d/{overview}"
    # The same data source and the same hours as here.
    assert set(asked.split("&")) == {
        "${datasource:queryparam}",
        "var-namespace=${__data.fields.Namespace}",
        "var-serve=${__data.fields.Serve}",
        "${__url_time_range}",
    }


def test_those_of_a_serve_open_with_it() -> None:
    boards = dashboards(Scope("ml", "fraud"))
    other = dashboards(Scope("ml", "churn"))
    assert set(boards) == {"serve-overview.json", "rollout.json", "features-drift.json"}
    for name, board in boards.items():
        current = {each["name"]: each["current"]["value"] for each in board["templating"]["list"] if "current" in each}
        assert (current["namespace"], current["serve"]) == ("ml", "fraud")
        assert board["panels"] == BOARDS[Path(name).stem]["panels"]
        assert len({board["uid"], other[name]["uid"], BOARDS[Path(name).stem]["uid"]}) == 3
        assert len(board["uid"]) <= 40


def test_the_config_map_is_one_that_kubernetes_takes() -> None:
    manifest = config_map(Scope("ml", "fraud"), "fraud-dashboards", "ml", {"team": "risk"})
    assert manifest["metadata"]["labels"] == {"team": "risk", "grafana_dashboard": "1"}
    assert sorted(manifest["data"]) == [
        "ml-fraud-features-drift.json",
        "ml-fraud-rollout.json",
        "ml-fraud-serve-overview.json",
    ]
    # kubectl keeps what was applied in an annotation, which may not be longer.
    assert len(json.dumps(manifest)) < 262_144
