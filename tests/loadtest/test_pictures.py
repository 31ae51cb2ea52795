"""The report and the comparison in a real browser: nothing missing, nothing fetched, nothing complained about."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest

from loadtest import compare, report
from loadtest.results import Result
from tests.browser import Browser
from tests.loadtest.test_numbers import result
from tests.predictors.rest.test_browser import browser

__all__ = ["browser"]


COVERED = """(() => {
  const marks = [...document.querySelector('svg').querySelectorAll('text')].filter(one => /^(p\\d|limit)/.test(one.textContent))
  const boxes = marks.map(one => one.getBoundingClientRect())
  return boxes.length < 7 || boxes.some((a, i) => boxes.some((b, k) => i < k && a.left < b.right && b.left < a.right
    && a.top + 3 < b.bottom && b.top + 3 < a.bottom))
})()"""
"""Whether two of the marks of the first picture stand on each other."""


def looked_at(browser: Browser, page: str, file: Path) -> int:
    """Opens a page; how many of the pixels of its picture are not of the background."""
    import matplotlib.image
    import numpy as np

    file.write_text(page)
    browser.call("Network.enable")
    browser.call("Page.navigate", url=file.as_uri())
    browser.wait("svg")
    png = base64.b64decode(browser.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
    (file.with_suffix(".png")).write_bytes(png)
    pixels = matplotlib.image.imread(io.BytesIO(png))
    return int(np.count_nonzero(np.any(pixels != pixels[0, 0], axis=-1)))


def with_server(measured: Result) -> Result:
    levels = [{"at": at, "in_flight": at % 3, "waiting": 0} for at in range(60)]
    measured.server = {"predictions": 6000.0, "errors": {"timeout": 1.0}, "refused": {}, "latency": {"p50": 0.004},
                   "versions": ["1"], "over_time": levels}  # fmt: skip
    return measured


def test_the_report(browser: Browser, tmp_path: Path) -> None:
    measured = with_server(result(failing=0.02))
    measured.slo = "p50=10ms,p90=15ms,p95=17ms,p99=20ms,errors=0.1%"  # near to what was found
    seen = looked_at(browser, report.html(measured), tmp_path / "report.html")
    assert seen > 100_000
    assert browser.run("document.querySelectorAll('svg').length") == 5
    text = browser.run("document.body.innerText")
    for words in ("The SLO was missed", "Percentiles over time", "Inside the server", "503", "timeout 1", "P95", "p99"):
        assert words.lower() in text.lower(), words
    assert browser.run("[...document.querySelectorAll('svg')].every(one => one.getBoundingClientRect().height > 100)")
    assert not browser.run(COVERED), "what is marked cannot be read"
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.complaints == []


def test_the_comparison(browser: Browser, tmp_path: Path) -> None:
    a, b = result(), result(1.3, seed=1)
    page = compare.html(a, b, compare.compare(a, b, 0.1), 0.1)
    assert looked_at(browser, page, tmp_path / "compare.html") > 50_000
    assert "B is worse than A" in browser.run("document.body.innerText")
    assert browser.run("document.querySelector('.verdict').className") == "verdict missed"
    unsure = compare.html(b, b, compare.compare(b, b, 0.0), 0.0)
    assert "class='verdict unsure'" in unsure, "it is no good news that nothing is known"
    assert browser.run("document.querySelectorAll('svg').length") == 2
    assert browser.complaints == []


@pytest.mark.parametrize(
    ("predictions", "words"), [(6001.0, "Others sent requests"), (5873.0, "one pod of several"), (5900.0, "")]
)
def test_numbers_of_other_requests_are_told_apart(predictions: float, words: str) -> None:
    measured = with_server(result(failing=0.02))
    measured.server["predictions"] = predictions
    assert measured.outcome.latencies.count == 5874
    page = report.html(measured)
    assert words in page
    assert ("Others sent requests" in page) + ("one pod of several" in page) == bool(words)


@pytest.mark.parametrize("empty", [False, True])
def test_names_are_no_markup(empty: bool) -> None:
    measured = result()
    measured.model = "<script>alert(1)</script>"
    if empty:
        measured.outcome.seconds.clear()
    assert "<script" not in report.html(measured)
