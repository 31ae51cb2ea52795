"""`python -m predictors.drift`: profiles from files, and prediction logs beside them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictors.drift import profile
from predictors.drift.__main__ import main
from predictors.drift.compare import compare
from predictors.drift.drawing import BEFORE, NOW
from predictors.drift.files import read_tables
from predictors.drift.profiles import parse_profile

Capture = pytest.CaptureFixture[str]


def people(rows: int, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": random.normal(40 + shift, 10, rows),
            "city": random.choice(["Ulm", "Köln"], rows),
            "member": random.random(rows) > 0.5,
        }
    )


def log(rows: int, shift: float = 0.0, version: str = "3") -> pd.DataFrame:
    """As the prediction log writes it."""
    random = np.random.default_rng(1)
    frame = people(rows, 1, shift).add_prefix("input.")
    frame["output.predictions"] = random.integers(0, 2, rows)
    frame["probability.0"] = random.random(rows)
    frame["probability.1"] = 1 - frame["probability.0"]
    frame.insert(0, "time", pd.date_range("2026-01-01", periods=rows, freq="1min", tz="UTC"))
    return frame.assign(request_id="r", model="m", version=version, row=0)


def nested(frame: pd.DataFrame) -> str:
    """The same as JSON lines, among other lines."""
    lines = ["serving m"]
    for row in frame.to_dict("records"):
        record: dict[str, Any] = {"time": row["time"].isoformat(), "version": row["version"]}
        record["inputs"] = {str(name)[6:]: value for name, value in row.items() if str(name).startswith("input.")}
        record["outputs"] = {"predictions": row["output.predictions"]}
        if "probability.0" in row:
            record["probabilities"] = [row["probability.0"], row["probability.1"]]
        lines.append(json.dumps(record))
    return "\n".join(lines)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of training data with what the model answered for it."""
    folder = tmp_path_factory.mktemp("known")
    random = np.random.default_rng(0)
    train = people(3000).assign(score=random.integers(0, 2, 3000), p=random.random(3000), label=1)
    train.to_parquet(folder / "train.parquet")
    outputs = ["--predictions", "predictions=score,probabilities[1]=p", "--drop", "label"]
    assert main(["profile", str(folder / "train.parquet"), "-o", str(folder / "profile.json"), *outputs]) == 0
    return folder / "profile.json"


def test_profiles_of_each_format_are_the_same(tmp_path: Path, capsys: Capture) -> None:
    data = people(500)
    data.to_csv(tmp_path / "a.csv", index=False)
    data.to_parquet(tmp_path / "a.parquet")
    data.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    (tmp_path / "parts").mkdir()
    data.head(200).to_parquet(tmp_path / "parts" / "1.parquet")
    data.tail(300).to_parquet(tmp_path / "parts" / "2.parquet")
    (tmp_path / "parts" / ".3.parquet.part").write_text("not complete yet")
    (tmp_path / "parts" / ".4.parquet").write_text("not complete yet")
    profiles = []
    for name in ("a.csv", "a.parquet", "a.jsonl", "parts"):
        assert main(["profile", str(tmp_path / name)]) == 0
        one = parse_profile(capsys.readouterr().out)
        profiles.append([(each.name, each.kind, each.counts.tolist()) for each in one.features])
    assert profiles[0] == profiles[1] == profiles[2] == profiles[3]
    assert [kind for _, kind, _ in profiles[0]] == ["number", "category", "boolean"]


def test_decimals_are_numbers_and_what_is_left_out_is_said(tmp_path: Path, capsys: Capture) -> None:
    """Parquet files of databases hold amounts as decimals."""
    amounts = [Decimal(cents) / 100 for cents in range(400)]
    data = pd.DataFrame({"amount": [*amounts[1:], None], "tags": [["a"]] * 400, "raw": [b"x"] * 400})
    data.to_parquet(tmp_path / "data.parquet")
    assert main(["profile", str(tmp_path / "data.parquet")]) == 0
    told = capsys.readouterr()
    (amount,) = parse_profile(told.out).features
    assert (amount.name, amount.kind, int(amount.counts[-1])) == ("amount", "number", 1)
    assert amount.summary["max"] == 3.99
    assert told.err == "left out, as they are not numbers, texts or times: raw, tags\n"


def test_outputs_are_told_apart(known: Path) -> None:
    parsed = parse_profile(known.read_text())
    assert [one.name for one in parsed.features] == ["age", "city", "member"]
    assert [one.name for one in parsed.outputs] == ["predictions", "probabilities[1]"]


def test_a_log_can_be_the_training_data(tmp_path: Path, capsys: Capture) -> None:
    log(300).to_parquet(tmp_path / "log.parquet")
    assert main(["profile", str(tmp_path / "log.parquet")]) == 0
    parsed = parse_profile(capsys.readouterr().out)
    assert [one.name for one in parsed.variables] == [
        "age", "city", "member", "predictions", "probabilities[0]", "probabilities[1]",
    ]  # fmt: skip


def test_a_log_like_the_training_data_is_fine(known: Path, tmp_path: Path, capsys: Capture) -> None:
    log(2000).to_parquet(tmp_path / "log.parquet")
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", str(known)]) == 0
    assert capsys.readouterr().out.startswith("no drift: 0 of 5 columns above 0.2")


def test_a_shift_is_found_in_every_form_of_the_log(known: Path, tmp_path: Path, capsys: Capture) -> None:
    frame = log(2000, shift=10)
    frame.to_parquet(tmp_path / "log.parquet")
    (tmp_path / "log.jsonl").write_text(nested(frame))
    (tmp_path / "folder" / "day").mkdir(parents=True)
    frame.head(900).to_parquet(tmp_path / "folder" / "day" / "1.parquet")
    frame.tail(1100).to_parquet(tmp_path / "folder" / "2.parquet")
    verdicts = []
    for place in (tmp_path / "log.parquet", tmp_path / "log.jsonl", tmp_path / "folder", f"file://{tmp_path}/folder"):
        assert main(["report", str(place), "--profile", str(known)]) == 1
        verdicts.append(capsys.readouterr().out)
    assert len(set(verdicts)) == 1
    assert verdicts[0].startswith("drift: 1 of 5 columns above 0.2 (age ")
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", str(known), "--threshold", "9"]) == 0


def test_the_page_stands_alone_and_names_everything(known: Path, tmp_path: Path) -> None:
    frame = pd.concat([log(1000), log(1000, 10, "<4>").assign(**{"input.city": "B&B"})], ignore_index=True)
    frame["time"] = pd.date_range("2026-01-01", periods=2000, freq="1min", tz="UTC")
    frame.to_parquet(tmp_path / "log.parquet")
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", str(known), "-o", str(page)]) == 1
    text = page.read_text()
    for words in (
        "age",
        "city",
        "member",
        "predictions",
        "probabilities[1]",
        "Over time",
        "PSI by version",
        "&lt;4&gt;",
    ):
        assert words in text
    assert text.count("<svg") == 5 + 1
    assert "<script" not in text
    assert "src=" not in text
    assert "<4>" not in text
    rows = text[text.index("<table>") : text.index("</table>")]
    assert rows.index(">city<") < rows.index(">age<") < rows.index(">member<")


def test_versions_come_as_they_are_counted(known: Path, tmp_path: Path) -> None:
    pd.concat([log(200, version=version) for version in ("10", "beta", "9")]).to_parquet(tmp_path / "log.parquet")
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", str(known), "-o", str(page)]) in (0, 1)
    heads = re.findall(r">(9|10|beta)<", page.read_text())
    assert heads[:3] == ["9", "10", "beta"]


def test_each_number_stands_in_its_place(tmp_path: Path) -> None:
    train = pd.DataFrame({"x": [0.0] * 300 + [4.0] * 100, "c": ["a", None] * 200, "same": [1.0, 2.0] * 200})
    (tmp_path / "profile.json").write_text(json.dumps(profile(train)))
    times = pd.Series(pd.date_range("2026-01-01", periods=400, freq="1min", tz="UTC"))
    now = pd.DataFrame(
        {"input.x": [0.0] * 100 + [4.0] * 300, "input.c": ["a"] * 399 + [None], "input.same": train.same}
    )
    now.assign(time=times.where(times.index < 390)).to_parquet(tmp_path / "log.parquet")  # a few have no time
    arguments = ["report", str(tmp_path / "log.parquet"), "--profile", str(tmp_path / "profile.json")]
    assert main([*arguments, "-o", str(tmp_path / "page.html")]) == 1
    text = (tmp_path / "page.html").read_text()
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in text.partition("</table>")[0].split("<tr>")[2:]]
    assert {row[0]: row[4:] for row in rows} == {
        "x": ["0.0%", "0.0%", "1", "3", "+1.15"], "c": ["50.0%", "0.2%", "", "", ""],
        "same": ["0.0%", "0.0%", "1.5", "1.5", "+0.00"],
    }  # fmt: skip
    assert re.findall(r"<td class='n (\w+)'>[\d.]+</td>", text.partition("</table>")[0]) == ["drift", "drift", "fine"]
    bars = re.findall(r"fill='(#\w+)'><title>([^<]*)<", text[text.index("<span>x<") :])
    assert bars[:4] == [(BEFORE, "≤ 2: 75.0%"), (NOW, "≤ 2: 25.0%"), (BEFORE, "≤ 6: 25.0%"), (NOW, "≤ 6: 75.0%")]
    one = parse_profile((tmp_path / "profile.json").read_text())
    (table,) = read_tables(str(tmp_path / "log.parquet"))
    whole = compare(one, [table], 190)
    known = compare(one, [table[table.time.notna()]], 190)
    assert [one.periods for one in whole.findings] == [one.periods for one in known.findings]


def test_names_that_begin_alike_are_told_apart_over_time(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"value_of_the_customer_over_the_last_{months}_months" for months in (3, 12)]
    train = pd.DataFrame(random.normal(size=(1000, 2)), columns=names)
    (tmp_path / "profile.json").write_text(json.dumps(profile(train)))
    frame = train.add_prefix("input.").assign(time=pd.date_range("2026-01-01", periods=1000, freq="1min", tz="UTC"))
    frame.to_parquet(tmp_path / "log.parquet")
    arguments = ["report", str(tmp_path / "log.parquet"), "--profile", str(tmp_path / "profile.json")]
    assert main([*arguments, "-o", str(tmp_path / "page.html")]) == 0
    over_time = (tmp_path / "page.html").read_text().partition("Over time")[2].partition("Distributions")[0]
    assert all(f"{name}</span>" in over_time for name in names)


def test_a_column_that_the_log_lacks_is_named(known: Path, tmp_path: Path) -> None:
    log(500).drop(columns=["input.member", "probability.1"]).to_parquet(tmp_path / "log.parquet")
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", str(known), "-o", str(page)]) == 0
    assert "Not in the log, only as hashes, or in too few rows: member, probabilities[1]" in page.read_text()


def test_hashed_columns_are_no_drift(known: Path, tmp_path: Path, capsys: Capture) -> None:
    """Unless it is hashes that were there before as well."""

    def hashed(value: object) -> str | None:
        return None if value == "Ulm" else sha256(str(value).encode()).hexdigest()

    frame, page = log(500), tmp_path / "report.html"
    hidden = frame.assign(**{name: frame[name].map(hashed) for name in ("input.age", "input.city")})
    hidden.to_parquet(tmp_path / "log.parquet")
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", str(known), "-o", str(page)]) == 0
    assert "or in too few rows: age, city<" in page.read_text()
    profile = str(tmp_path / "profile.json")
    assert main(["profile", str(tmp_path / "log.parquet"), "-o", profile]) == 0
    hidden.assign(**{"input.city": hashed("Bonn")}).to_parquet(tmp_path / "log.parquet")
    assert main(["report", str(tmp_path / "log.parquet"), "--profile", profile]) == 1
    assert "(city " in capsys.readouterr().out


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_an_output_that_was_not_asked_for_is_not_missing(
    known: Path, tmp_path: Path, capsys: Capture, form: str
) -> None:
    frame, page = log(2000), tmp_path / "report.html"
    without = frame.tail(1000).drop(columns=["probability.0", "probability.1"])
    for name, part in (("1", frame.head(1000)), ("2", without)):
        if form == "parquet":
            part.to_parquet(tmp_path / f"{name}.parquet")
        else:
            (tmp_path / f"{name}.jsonl").write_text(nested(part))
    assert main(["report", str(tmp_path), "--profile", str(known), "-o", str(page)]) == 0
    assert capsys.readouterr().out.startswith("no drift: 0 of 5 columns above 0.2")
    assert "2,000 rows" in page.read_text()


def test_a_log_of_outputs_alone(known: Path, tmp_path: Path, capsys: Capture) -> None:
    """All inputs may be excluded."""
    lines = [json.dumps({"version": "1", "outputs": {"predictions": i % 2}}) for i in range(300)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert main(["report", str(tmp_path / "log.jsonl"), "--profile", str(known)]) in (0, 1)
    assert "of 1 columns" in capsys.readouterr().out


def test_rows_of_different_models_are_not_mixed(known: Path, tmp_path: Path, capsys: Capture) -> None:
    log(300).assign(model="a").to_parquet(tmp_path / "1.parquet")
    log(300).assign(model="b").to_parquet(tmp_path / "2.parquet")
    assert main(["report", str(tmp_path), "--profile", str(known)]) == 2
    assert "the log is of several models (a, b): name the folder of one" in capsys.readouterr().err


def test_lists_are_unfolded(tmp_path: Path, capsys: Capture) -> None:
    frame = log(500).drop(columns=["probability.0", "probability.1"])
    frame["output.probabilities"] = [[0.2, 0.8]] * 500
    frame.to_parquet(tmp_path / "log.parquet")
    assert main(["profile", str(tmp_path / "log.parquet")]) == 0
    names = [one.name for one in parse_profile(capsys.readouterr().out).outputs]
    assert names == ["predictions", "probabilities[0]", "probabilities[1]"]


def test_what_cannot_be_used_is_said_in_a_line(known: Path, tmp_path: Path, capsys: Capture) -> None:
    data, few, empty = tmp_path / "data.csv", tmp_path / "few.parquet", tmp_path / "empty"
    people(300).to_csv(data, index=False)
    log(57).to_parquet(few)
    empty.mkdir()
    broken = tmp_path / "broken.parquet"
    broken.write_text("no parquet")
    (tmp_path / "words.jsonl").write_text("one\ntwo\n")
    (tmp_path / "other.jsonl").write_text('{"input.other": 1}\n' * 300)
    (tmp_path / "lists.jsonl").write_text('{"a": [1, 2]}\n')
    profiled = ["--profile", str(known)]
    for arguments, words in (
        (["report", str(tmp_path / "none"), *profiled], "there is no file or folder"),
        (["report", str(empty), *profiled], "has no file that ends in .csv, .parquet"),
        (["report", str(data), *profiled], "no column named input.… or output.…"),
        (["report", str(few), *profiled], "57 rows, too few to tell drift from chance (--min-rows=200)"),
        (["report", str(broken), *profiled], "broken.parquet cannot be read"),
        (["report", str(tmp_path / "words.jsonl"), *profiled], "expected a JSON object in each line"),
        (["report", str(tmp_path / "other.jsonl"), *profiled], "none of the profile's columns: age, city"),
        (["report", str(few), "--profile", str(data)], "the drift profile is not JSON"),
        (["report", str(few), "--profile", str(tmp_path / "none")], "cannot be read: No such file"),
        (["report", str(few), "--profile", str(tmp_path)], "is not an MLflow model"),
        (["report", str(few), "--min-rows", "1", *profiled, "-o", str(empty)], "cannot be written: Is a directory"),
        (["report", "gopher://x/y", *profiled], "gopher://x/y cannot be listed"),
        (["profile", str(data), "--drop", "nothing"], "no column 'nothing'; it has age, city, member"),
        (["profile", str(data), "--predictions", "a=score"], "no column 'score'"),
        (["profile", str(tmp_path / "lists.jsonl")], "no column of numbers"),
    ):
        assert main(arguments) == 2, arguments
        told = capsys.readouterr().err
        assert told.startswith("error: "), told
        assert words in told
        assert told.count("\n") == 1


def test_the_command_line() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "predictors.drift", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert run("profile", "x.csv", "--bins", "1").returncode == 2
    assert "expected a number from 0" in run("report", "x", "--profile", "y", "--threshold", "nan").stderr
    assert "profile" in run("--help").stdout
    done = run("report", "x", "--profile", "y")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
