"""A real Prometheus scrapes real servers, with the configuration and the rules that are rendered."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from monitoring.cli import main
from monitoring.rules import groups
from monitoring.scope import Scope
from monitoring.verdict import Gates, PrometheusQuery, WindowReader, analysis_template
from tests.monitoring.queries import BOARDS, filled, marks, panels
from tools.monitoring.parts import ask, meanwhile, predictor, prometheus, save_patchy, scrape_job, wait_for
from tools.monitoring.rides import order, save_rides, served
from tools.monitoring.traffic import Caller

WINDOW = "2m"
RIDES_POD = "rides-predictor-00002-deployment-0"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two serves: one with two versions, one of them in two workers, that was asked over every protocol, with some errors
    and some refusals; another one with features, a drift profile and a prediction log, for which times have changed.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    with meanwhile(rides(folder / "rides")) as beside, both(folder, beside) as url:
        yield url


@contextmanager
def rides(folder: Path) -> Iterator[Caller]:
    save_rides(folder)
    shadow = ["--candidate", str(folder / "4"), "--candidate-mode", "shadow", "--candidate-share", "1"]
    shadow += ["--load-trial", "false"]
    with served(folder, "3", "--drift-min-rows", "50", "--drift-interval", "0.2", *shadow) as caller:
        yield caller


@contextmanager
def both(folder: Path, beside: Callable[[], Caller]) -> Iterator[str]:
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
        rider = beside()
        config["scrape_configs"].append(scrape_job("ml", "rides", RIDES_POD, rider.url.removeprefix("http://")))
        config["rule_files"].append("rides.yaml")
        rules = yaml.safe_dump({"groups": groups(Scope("ml", "rides"))})
        callers = [Caller(f"http://{one}", rpc_one, "patchy", ("seconds",))]
        callers.append(Caller(f"http://{two}", rpc_two, "patchy", ("seconds",)))
        with prometheus(folder, config, {"rides.yaml": rules}) as url:
            for caller in callers:
                traffic(caller)
            orders(rider)
            # A counter that is born has no rate yet: what is asked now is seen to grow.
            wait_for(lambda: len(ask(url, 'model_requests_refused_total{reason="requests"} > 0')) == 2)
            for caller in callers:
                traffic(caller)
            wait_for(lambda: bool(ask(url, 'model_prediction_log_records_total{result="written"} > 0')))
            wait_for(lambda: bool(ask(url, "model_feature_psi and on () model_prediction_share")))
            orders(rider)
            wait_for(lambda: bool(ask(url, f"sum(rate(model_requests_refused_total[{WINDOW}])) > 0")))
            wait_for(lambda: bool(ask(url, f"sum(rate(model_feature_lookup_seconds_count[{WINDOW}])) > 0")))
            wait_for(lambda: bool(ask(url, f"sum(rate(model_shadow_latency_ratio_count[{WINDOW}])) > 0")))
            wait_for(lambda: bool(ask(url, f"sum(rate(model_prediction_log_records_total[{WINDOW}])) > 0")))
            yield url


def orders(caller: Caller) -> None:
    """Ways are three times as long as they were, and of some drivers nothing is known."""
    chance = random.Random(5)
    for _ in range(10):
        assert order(caller, chance, rows=20, shift=3, strange=0.2)


def traffic(caller: Caller) -> None:
    for name, send in caller.protocols.items():
        assert send([[0.0], [0.01]]), name
        assert not send([[-1.0]]), name
    assert not caller.wrong()
    assert caller.superfluous([[0.0]])
    # Two are answered at a time, so that some of these are refused.
    with ThreadPoolExecutor(6) as pool:
        assert not all(pool.map(lambda _: caller.v1([[0.3]]), range(6)))


PANELS = [(name, title, expr) for name, board in BOARDS.items() for title, expr in panels(board)]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_panel_has_data(url: str, name: str) -> None:
    for board, title, expr in PANELS:
        if board == name:
            samples = ask(url, filled(expr, WINDOW))
            assert samples, f"{title}: {expr}"
            assert all(float(each["value"][1]) == float(each["value"][1]) for each in samples), f"{title}: not a number"


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_mark_parses(url: str, name: str) -> None:
    for _, expr in marks(BOARDS[name]):
        ask(url, filled(expr, WINDOW))


def test_a_version_that_was_taken_is_marked(url: str) -> None:
    """All were, less than a minute ago."""
    (expr,) = [expr for title, expr in marks(BOARDS["serve-overview"]) if title == "Version taken"]
    samples = ask(url, filled(expr, WINDOW).replace("offset 1m", "offset 1h"))
    assert {each["metric"]["model_version"] for each in samples} == {"1", "2", "3"}


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
    samples = ask(url, filled(expr, WINDOW, serve="patchy"))
    shares = {each["metric"]["model_version"]: float(each["value"][1]) for each in samples}
    assert set(shares) == {"1", "2"}
    assert sum(shares.values()) == pytest.approx(1)
    only = ask(url, filled(expr, WINDOW, version="2"))
    assert [each["metric"]["model_version"] for each in only] == ["2"]


def test_a_rollout_shows_what_was_refused(url: str) -> None:
    """Refused requests have no version, and are no predictions."""
    (expr,) = [expr for name, title, expr in PANELS if (name, title) == ("rollout", "Refused")]
    (sample,) = ask(url, filled(expr, WINDOW, serve="patchy"))
    assert sample["metric"] == {"revision": "patchy-predictor"}
    assert 0 < float(sample["value"][1]) < 1


def shown(url: str, title: str, label: str) -> dict[str, float]:
    """The numbers of a panel of the second serve, by a label."""
    (expr,) = [expr for name, shows, expr in PANELS if (name, shows) == ("features-drift", title)]
    samples = ask(url, filled(expr, WINDOW, serve="rides"))
    return {each["metric"][label]: float(each["value"][1]) for each in samples}


def test_what_has_drifted_is_told_from_what_has_not(url: str) -> None:
    apart = shown(url, "PSI of inputs", "feature")
    assert set(apart) == {"distance", "rating", "trips", "orders"}
    assert apart["distance"] > 1
    assert apart["orders"] < 0.1
    assert shown(url, "PSI of predictions", "output")["price"] > 0.2
    missing = shown(url, "Missing inputs", "feature")
    assert missing["distance"] == 0
    assert 0.1 < missing["rating"] < 0.6


def test_predictions_are_seen_as_they_are_distributed(url: str) -> None:
    assert sum(shown(url, "Prediction classes", "value").values()) == pytest.approx(1)
    quantiles = shown(url, "Prediction quantiles", "quantile")
    assert list(quantiles) == sorted(quantiles, key=float) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert sorted(quantiles.values()) == list(quantiles.values())


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_columns_of_a_table_are_of_the_same_rows(url: str, name: str) -> None:
    """Grafana joins them by all labels that they have in common."""
    for panel in BOARDS[name]["panels"]:
        if panel["type"] == "table":
            columns = [ask(url, filled(target["expr"], WINDOW)) for target in panel["targets"]]
            shared = set.intersection(*(set(one["metric"]) for column in columns for one in column))
            first, *others = (
                {tuple(one["metric"][label] for label in sorted(shared)) for one in each} for each in columns
            )
            assert all(rows & first for rows in others), panel["title"]


def test_features_that_are_not_there(url: str) -> None:
    (expr,) = [expr for _, title, expr in PANELS if title == "Features not usable"]
    shares = {
        (each["metric"]["feature"], each["metric"]["result"]): float(each["value"][1])
        for each in ask(url, filled(expr, WINDOW))
    }
    assert all(0 < shares["rating", result] < 0.5 for result in ("missing", "stale", "null"))
    assert shares["orders", "missing"] == 0


def test_rules_run_and_record(url: str) -> None:
    wanted = {rule["record"] for rule in groups(Scope("ml", "patchy"))[0]["rules"] if "record" in rule}
    wait_for(lambda: all(ask(url, name) for name in wanted))
    rule_groups = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
    assert {group["name"] for group in rule_groups} == {"mlflow-kserve-ml-patchy", "mlflow-kserve-ml-rides"}
    assert [rule["name"] for group in rule_groups for rule in group["rules"] if rule["health"] != "ok"] == []


def test_alerts_see_the_refusals_and_the_failures(url: str) -> None:
    """They wait for minutes before they fire, but they are pending at once."""

    wait_for(lambda: {"ModelAvailabilityBurn", "ModelRequestsRefused"} <= pending(url, "patchy"))
    assert not pending(url, "patchy") & {
        "ModelNotLoaded",
        "ModelAbsent",
        "ModelPodNotScraped",
        "ModelReloadFailing",
        "ModelNoTraffic",
    }


def test_alerts_see_what_has_drifted_and_what_is_missing(url: str) -> None:
    wanted = {"ModelInputDrifted", "ModelPredictionsDrifted", "ModelFeaturesMissing"}
    wait_for(lambda: wanted <= pending(url, "rides"))
    assert not pending(url, "rides") & {"ModelFeastUnavailable", "ModelPredictionLogDropping"}


def pending(url: str, serve: str) -> set[str]:
    alerts = httpx.get(f"{url}/api/v1/alerts").json()["data"]["alerts"]
    return {each["labels"]["alertname"] for each in alerts if each["labels"].get("model_name") == serve}


def test_dashboards_find_their_choices(url: str) -> None:
    for board in BOARDS.values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                query = filled(variable["query"]["query"], WINDOW)
                series, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
                reply = httpx.get(f"{url}/api/v1/label/{label}/values", params={"match[]": series}).json()
                assert reply["status"] == "success", reply
                assert (
                    reply["data"]
                    == {"namespace": ["ml"], "model_name": ["patchy", "rides"], "model_version": ["1", "2", "3"]}[label]
                )


def test_a_query_that_does_not_parse_is_noticed(url: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        ask(url, "sum(rate(model_requests_total[5m])")


def test_the_verdict_reads_both_versions(url: str) -> None:
    """What Prometheus has of an arm is what the pods count, and a template for Argo has its data."""
    selectors = {version: f'model_name="patchy",model_version="{version}"' for version in "12"}
    old, new = (PrometheusQuery(url, selector) for selector in selectors.values())
    for version, source in (("1", old), ("2", new)):
        (samples,) = source.read().values()
        assert samples is not None
        counted = sum(each.value for each in samples if each.name == "model_predictions_total")
        assert counted == float(
            ask(url, f'model_predictions_total{{model_name="patchy",model_version="{version}"}}')[0]["value"][1]
        )
        assert counted > 5
        assert {each.value for each in samples if each.name == "model_loaded"} == {1.0}
    reader = WindowReader(old, new)
    window = reader.read(0.0)
    assert (window.baseline.ready, window.candidate.ready, window.candidate.requests) == (1, 1, 0)
    given = {
        "baseline": selectors["1"],
        "candidate": selectors["2"],
        "window": WINDOW,
        "slow-seconds": "0.1",
        "dispersion": "1",
    }
    for metric in yaml.safe_load(analysis_template(Gates()))["spec"]["metrics"]:
        query = metric["provider"]["prometheus"]["query"]
        for name, value in given.items():
            query = query.replace(f"{{{{args.{name}}}}}", value)
        assert len(ask(url, query)) == 1, metric["name"]
