"""A real Prometheus scrapes real servers, with the configuration and the rules that are rendered."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import yaml

from monitoring.cli import main
from monitoring.rules import groups
from monitoring.scope import Scope
from tests.monitoring.queries import BOARDS, filled, marks, panels
from tools.monitoring.parts import ask, predictor, prometheus, save_patchy, wait_for
from tools.monitoring.traffic import Caller

WINDOW = "2m"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A serve with two versions, one of them in two workers, that was asked over every protocol, with some errors and some refusals."""
    folder = tmp_path_factory.mktemp("prometheus")
    patchy = save_patchy(folder)
    with (
        predictor(folder, patchy, "1", "--max-in-flight", "2", name="patchy") as (one, rpc_one),
        predictor(folder, patchy, "2", "--workers", "2", "--max-in-flight", "2", name="patchy") as (two, rpc_two),
    ):
        spec = folder / "serve.yaml"
        spec.write_text("{name: patchy, namespace: ml, model: models:/patchy/1}")
        asked = ["render", "--spec", str(spec), "--target", one, "--target", two, "-o", str(folder)]
        assert main(asked) == 0
        config = yaml.safe_load((folder / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
        callers = [Caller(f"http://{one}", rpc_one, "patchy", ("seconds",))]
        callers.append(Caller(f"http://{two}", rpc_two, "patchy", ("seconds",)))
        with prometheus(folder, config, {}) as made:
            for caller in callers:
                traffic(caller)
            # A counter that is born has no rate yet: what is asked now is seen to grow.
            wait_for(lambda: len(ask(made, 'model_requests_refused_total{reason="requests"} > 0')) == 2)
            for caller in callers:
                traffic(caller)
            wait_for(lambda: bool(ask(made, f"sum(rate(model_requests_refused_total[{WINDOW}])) > 0")))
            yield made


def traffic(caller: Caller) -> None:
    for name, send in caller.protocols.items():
        assert send([[0.0], [0.01]]), name
        assert not send([[-1.0]]), name
    assert not caller.wrong()
    # Two are answered at a time, so that some of these are refused.
    with ThreadPoolExecutor(6) as pool:
        assert not all(pool.map(lambda _: caller.v1([[0.3]]), range(6)))


PANELS = [(name, title, expr) for name, board in BOARDS.items() for title, expr in panels(board)]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_panel_has_data(url: str, name: str) -> None:
    for board, title, expr in PANELS:
        if board == name:
            found = ask(url, filled(expr, WINDOW))
            assert found, f"{title}: {expr}"
            assert all(float(each["value"][1]) == float(each["value"][1]) for each in found), f"{title}: not a number"


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_mark_parses(url: str, name: str) -> None:
    for _, expr in marks(BOARDS[name]):
        ask(url, filled(expr, WINDOW))


def test_a_version_that_was_taken_is_marked(url: str) -> None:
    """Both were, less than a minute ago."""
    (expr,) = [expr for title, expr in marks(BOARDS["serve-overview"]) if title == "Version taken"]
    found = ask(url, filled(expr, WINDOW).replace("offset 1m", "offset 1h"))
    assert {each["metric"]["model_version"] for each in found} == {"1", "2"}


def test_every_protocol_is_told_apart(url: str) -> None:
    (expr,) = [expr for _, title, expr in PANELS if title == "Requests by protocol"]
    assert {each["metric"]["protocol"] for each in ask(url, filled(expr, WINDOW))} == {
        "v1",
        "v2",
        "invocations",
        "grpc",
    }


def test_versions_stand_beside_each_other(url: str) -> None:
    (expr,) = [expr for _, title, expr in PANELS if title == "Share of traffic"]
    shares = {each["metric"]["model_version"]: float(each["value"][1]) for each in ask(url, filled(expr, WINDOW))}
    assert set(shares) == {"1", "2"}
    assert sum(shares.values()) == pytest.approx(1)
    only = ask(url, filled(expr, WINDOW, version="2"))
    assert [each["metric"]["model_version"] for each in only] == ["2"]


def test_a_rollout_shows_what_was_refused(url: str) -> None:
    """Refused requests have no version, and are no predictions."""
    (expr,) = [expr for name, title, expr in PANELS if (name, title) == ("rollout", "Refused")]
    (found,) = ask(url, filled(expr, WINDOW))
    assert found["metric"] == {"revision": "patchy-predictor"}
    assert 0 < float(found["value"][1]) < 1


def test_rules_run_and_record(url: str) -> None:
    wanted = {rule["record"] for rule in groups(Scope("ml", "patchy"))[0]["rules"] if "record" in rule}
    wait_for(lambda: all(ask(url, name) for name in wanted))
    (group,) = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
    assert group["name"] == "mlflow-kserve-ml-patchy"
    assert [rule["name"] for rule in group["rules"] if rule["health"] != "ok"] == []


def test_alerts_see_the_refusals_and_the_failures(url: str) -> None:
    """They wait for minutes before they fire, but they are pending at once."""

    def pending() -> set[str]:
        return {each["labels"]["alertname"] for each in httpx.get(f"{url}/api/v1/alerts").json()["data"]["alerts"]}

    wait_for(lambda: {"ModelAvailabilityBurn", "ModelRequestsRefused"} <= pending())
    assert not pending() & {
        "ModelNotLoaded",
        "ModelAbsent",
        "ModelPodNotScraped",
        "ModelReloadFailing",
        "ModelNoTraffic",
    }


def test_dashboards_find_their_choices(url: str) -> None:
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                query = filled(variable["query"]["query"], WINDOW)
                series, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
                reply = httpx.get(f"{url}/api/v1/label/{label}/values", params={"match[]": series}).json()
                assert reply["status"] == "success", reply
                assert (
                    reply["data"] == {"namespace": ["ml"], "model_name": ["patchy"], "model_version": ["1", "2"]}[label]
                )


def test_a_query_that_does_not_parse_is_noticed(url: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        ask(url, "sum(rate(model_requests_total[5m])")
