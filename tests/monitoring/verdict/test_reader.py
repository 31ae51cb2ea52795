"""Windows from pods' own metrics: what has been counted since, across restarts and pods that come and go."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from math import inf

import pytest

from monitoring.verdict import PodScraper, PrometheusQuery, SourceUnreadable, WindowReader
from tests.http_server import endless_server
from tests.monitoring.verdict.metrics_pod import MetricsPod


@pytest.fixture
def pods() -> Iterator[list[MetricsPod]]:
    running = [MetricsPod(), MetricsPod(), MetricsPod()]
    yield running
    for pod in running:
        pod.shutdown()
        pod.server_close()


def test_a_window_has_what_was_counted_since(pods: list[MetricsPod]) -> None:
    baseline, one, other = pods
    reader = WindowReader(PodScraper([baseline.url]), PodScraper([one.url, other.url]))
    for pod in pods:
        pod.count(1000, timeout=50)
    first = reader.read(10.0)
    assert (first.began, first.ended, first.baseline.requests) == (10.0, 10.0, 0), "what was before is nobody's window"
    baseline.count(1300, timeout=51)
    one.count(1100, timeout=50, model_error=2, invalid_input=7)
    other.count(1040, timeout=51, loaded=0)
    window = reader.read(40.0)
    assert (window.began, window.ended) == (10.0, 40.0)
    assert (window.baseline.requests, window.baseline.errors, window.baseline.pods) == (300, 1, 1)
    arm = window.candidate
    assert (arm.requests, arm.errors, arm.refused, arm.accepted) == (140, 3, 7, 133)
    assert arm.latency == {0.01: 70, inf: 140}
    assert (arm.pods, arm.ready, arm.restarts, arm.failed_reloads) == (2, 1, 0, 1)


def test_a_pod_that_restarted_counts_from_zero(pods: list[MetricsPod]) -> None:
    pod = pods[0]
    reader = WindowReader(PodScraper([pods[1].url]), PodScraper([pod.url]))
    pod.count(1000, timeout=50)
    reader.read(0.0)
    pod.count(30, timeout=4)
    arm = reader.read(30.0).candidate
    assert (arm.requests, arm.errors, arm.restarts) == (30, 4, 1)


def test_pods_come_and_go(pods: list[MetricsPod]) -> None:
    """A gap is made up for; a pod that was there before counting is not taken for a new one."""
    old, late, new = pods
    urls = [old.url, late.url]
    reader = WindowReader(PodScraper([old.url]), PodScraper(urls))
    old.count(1000)
    late.count(5000)
    late.status = 503
    arm = reader.read(0.0).candidate
    assert (arm.pods, arm.ready) == (2, 1)
    late.status, old.status = 200, 503
    assert reader.read(30.0).candidate.requests == 0
    old.status = 200
    old.count(1200)
    late.count(5007)
    new.count(20)
    urls.append(new.url)
    assert reader.read(60.0).candidate.requests == 200 + 7 + 20


def test_a_pod_that_appears_without_an_answer_is_no_new_one(pods: list[MetricsPod]) -> None:
    one, other = pods[:2]
    urls = [one.url]
    reader = WindowReader(PodScraper([one.url]), PodScraper(urls))
    reader.read(0.0)
    urls.append(other.url)
    other.count(5000)
    other.status = 503
    reader.read(30.0)
    other.status = 200
    assert reader.read(60.0).candidate.requests == 0


def test_an_endless_answer_is_none(pods: list[MetricsPod], monkeypatch: pytest.MonkeyPatch) -> None:
    pods[0].count(10)
    scraper = PodScraper([pods[0].url])
    assert scraper.read()[pods[0].url]
    monkeypatch.setattr("monitoring.verdict.sources.MAX_BYTES", 100)
    assert scraper.read()[pods[0].url] is None


def test_a_pod_that_never_ends_its_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitoring.verdict.sources.TIMEOUT_SECONDS", 0.3)
    with endless_server() as url:
        assert PodScraper([url]).read() == {url: None}


def test_what_a_pod_has_packed_is_not_unpacked() -> None:
    with endless_server(gzip.compress(b"model_loaded 1\n")) as url:
        assert PodScraper([url]).read() == {url: None}


def test_labels_choose_a_version_of_the_same_pod(pods: list[MetricsPod]) -> None:
    pod = pods[0]
    old, new = (PodScraper([pod.url], {"model_version": version}) for version in "12")
    reader = WindowReader(old, new)
    pod.count(100, version=2)
    reader.read(0.0)
    pod.count(170, version=2)
    window = reader.read(30.0)
    assert (window.baseline.requests, window.candidate.requests) == (0, 70)
    assert (window.baseline.ready, window.candidate.ready) == (0, 1)
    assert window.candidate.failed_reloads == 0
    pod.count(200, version=2)
    assert reader.read(60.0).candidate.failed_reloads == 1, "no version has this label"


def test_what_is_no_metrics_is_no_answer(pods: list[MetricsPod]) -> None:
    pods[0].text = "<html>"
    reader = WindowReader(PodScraper([pods[0].url]), PodScraper(["http://127.0.0.1:1"]))
    window = reader.read(0.0)
    assert [(arm.pods, arm.ready) for arm in (window.baseline, window.candidate)] == [(1, 0), (1, 0)]


def test_a_window_that_one_arm_could_not_be_read_in_is_made_up_for_in_both(pods: list[MetricsPod]) -> None:
    baseline, candidate = pods[:2]
    reader = WindowReader(PodScraper([baseline.url]), PodScraper([candidate.url]))
    reader.read(0.0)
    readable, reader.arms[1].source = reader.arms[1].source, PrometheusQuery("http://127.0.0.1:1", "")
    baseline.count(50)
    with pytest.raises(SourceUnreadable):
        reader.read(30.0)
    reader.arms[1].source = readable
    baseline.count(100)
    candidate.count(10)
    window = reader.read(60.0)
    assert (window.began, window.baseline.requests, window.candidate.requests) == (0.0, 100, 10)


def test_prometheus_that_does_not_answer_says_nothing_about_a_candidate(pods: list[MetricsPod]) -> None:
    pod = pods[0]
    reader = WindowReader(PodScraper([pod.url]), PrometheusQuery(pod.url, 'pod="a"'))
    with pytest.raises(SourceUnreadable, match=r"answers 404 to \{__name__=~"):
        reader.read(0.0)
    nowhere = PrometheusQuery("http://127.0.0.1:1", 'pod="a"')
    with pytest.raises(SourceUnreadable, match="http://127.0.0.1:1 cannot be reached"):
        nowhere.read()
