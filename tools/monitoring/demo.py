"""Runs servers, traffic, Prometheus and, if installed, Grafana: `python -m tools.monitoring.demo`."""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from loadtest.peers.ports import free_port
from monitoring.assets import dashboards, text
from monitoring.rules import groups
from monitoring.scope import Scope
from monitoring.scrape import prometheus as prometheus_config
from tools.monitoring.parts import (
    ProgramMissing,
    ask,
    meanwhile,
    predictor,
    prometheus,
    running,
    save_patchy,
    scrape_job,
    wait_for,
    wait_for_url,
)
from tools.monitoring.rides import order, save_rides, served
from tools.monitoring.traffic import Caller

DEMO = ("temperature", "vibration", "months_since_service", "load")
ROW = [91.5, 1.05, 41.0, 0.9]
WINDOW = ("--drift-window", "30s", "--drift-min-rows", "100")
GRAFANA = ("/usr/share/grafana", "/usr/local/share/grafana")


@contextlib.contextmanager
def running_demo(folder: Path) -> Iterator[tuple[str, list[Caller]]]:
    """A serve with a canary, a healthy one, a failing one, and a Prometheus that scrapes all of them."""
    patchy, rides = save_patchy(folder), save_rides(folder / "rides")
    with (
        meanwhile(served(rides, "3", *WINDOW)) as stable,
        meanwhile(served(rides, "4", *WINDOW)) as canary,
        predictor(folder, None, "7", name="fraud") as well,
        predictor(folder, patchy, "2", "--max-in-flight", "3", name="patchy") as troubled,
    ):
        pods = {
            "rides-v3-predictor-0": stable(),
            "rides-v4-predictor-0": canary(),
            "fraud-predictor-0": Caller(f"http://{well[0]}", well[1], "fraud", DEMO),
            "patchy-predictor-0": Caller(f"http://{troubled[0]}", troubled[1], "patchy", ("seconds",)),
        }
        jobs = [scrape_job("demo", one.model, pod, one.url.removeprefix("http://")) for pod, one in pods.items()]
        rules = yaml.safe_dump({"groups": groups(Scope())}, sort_keys=False)
        with prometheus(folder, prometheus_config(jobs, interval="2s"), {"rules.yaml": rules}) as url:
            yield url, list(pods.values())


def load(callers: Sequence[Caller], stop: threading.Event) -> None:
    """A tenth of the rides go to the canary, and their ways become longer from minute to minute; some requests are
    wrong, and one serve has more than it can do.
    """
    chance = random.Random(7)  # noqa: S311 - the same traffic each time
    stable, canary, well, troubled = callers
    begun = time.monotonic()

    def ride() -> None:
        caller = canary if chance.random() < 0.1 else stable
        minutes = (time.monotonic() - begun) / 60
        if chance.random() < 0.02:
            caller.wrong()
        else:
            order(
                caller, chance, chance.choice((1, 5, 20)), shift=1 + min(minutes, 3) / 2, strange=min(minutes / 10, 0.1)
            )

    def one() -> None:
        send = chance.choice(list(well.protocols.values()))
        if chance.random() < 0.02:
            well.wrong()
            well.superfluous([ROW])
        else:
            send([ROW] * chance.choice((1, 1, 1, 2, 5, 20)))

    def other() -> None:
        mood = chance.random()
        send = chance.choice(list(troubled.protocols.values()))
        send([[-1.0 if mood < 0.05 else 0.02 if mood < 0.9 else 0.4]])

    with ThreadPoolExecutor(6) as pool:
        while not stop.is_set():
            list(pool.map(lambda send: send(), [ride] * 4 + [one] * 3 + [other] * chance.choice((2, 4, 6))))


@contextlib.contextmanager
def grafana(folder: Path, source: str) -> Iterator[str | None]:
    """Runs Grafana with the data source and the dashboards, if it is installed."""
    home = next((path for path in GRAFANA if Path(path).is_dir()), None)
    program = program_of(home) if home else None
    if program is None or home is None:
        yield None
        return
    boards, provisioning, port = folder / "boards", folder / "provisioning", free_port()
    for path in (boards, provisioning / "datasources", provisioning / "dashboards"):
        path.mkdir(parents=True)
    for name, board in dashboards(Scope()).items():
        (boards / name).write_text(text(board))
    provided = {"name": "mlflow-kserve", "type": "file", "options": {"path": str(boards)}}
    datasource = {"name": "Prometheus", "type": "prometheus", "url": source, "access": "proxy", "isDefault": True}
    (provisioning / "dashboards" / "all.yaml").write_text(yaml.safe_dump({"apiVersion": 1, "providers": [provided]}))
    (provisioning / "datasources" / "all.yaml").write_text(
        yaml.safe_dump({"apiVersion": 1, "datasources": [datasource]})
    )
    env = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1", "GF_SERVER_HTTP_PORT": str(port), "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_LOGS": str(folder / "grafana"), "GF_PATHS_PLUGINS": str(folder / "grafana" / "plugins"),
        "GF_PATHS_PROVISIONING": str(provisioning), "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_ANALYTICS_REPORTING_ENABLED": "false", "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }  # fmt: skip
    command = [program, *(["server"] if Path(program).name == "grafana" else []), "--homepath", home]
    log = folder / "grafana.log"
    with running(command, log, env) as started:
        wait_for_url(f"http://127.0.0.1:{port}/api/health", started, log)
        yield f"http://127.0.0.1:{port}"


def program_of(home: str) -> str | None:
    """The program itself; what packages put on the path reads their configuration, which not everybody may."""
    names = ("grafana", "grafana-server")
    own = [str(path) for name in names if (path := Path(home) / "bin" / name).is_file()]
    return next(filter(None, [*own, *map(shutil.which, names)]), None)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="end after this time [default: with Ctrl-C]")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="folder for pictures of the dashboards' panels, drawn at the end"
    )
    args = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as name:
            show(Path(name), args.seconds, args.pictures)
    except (ProgramMissing, RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print()
    return 0


def show(folder: Path, seconds: float | None, pictures: Path | None) -> None:
    print("Starting four servers, Feast and Prometheus …", flush=True)
    with running_demo(folder) as (url, callers), grafana(folder, url) as boards:
        stop = threading.Event()
        sending = threading.Thread(target=load, args=(callers, stop), daemon=True)
        sending.start()
        try:
            wait_for(lambda: bool(ask(url, "sum(rate(model_requests_total[1m])) > 0")))
            print_addresses(url, boards, callers)
            ends = None if seconds is None else time.monotonic() + seconds
            while ends is None or time.monotonic() < ends:
                time.sleep(0.5)
        finally:
            stop.set()
            sending.join()
        if pictures:
            from tools.monitoring.pictures import draw_all

            draw_all(url, pictures, max(30, seconds or 30))


def print_addresses(url: str, boards: str | None, callers: Sequence[Caller]) -> None:
    print(f"Prometheus   {url}/targets   {url}/rules   {url}/alerts")
    print(f"             {url}/graph?g0.expr=sum%20by%20(model_name)%20(rate(model_requests_total%5B1m%5D))&g0.tab=0")
    if boards:
        print(f"Grafana      {boards}/dashboards")
    else:
        print("Grafana      is not installed; import monitoring/dashboards/*.json into yours")
    for caller in callers:
        print(f"{caller.model:12} {caller.url}/metrics")
    print("Ctrl-C ends all of it.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
