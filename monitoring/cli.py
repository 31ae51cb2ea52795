"""The command: `python -m monitoring render` writes rules, scrape configs and dashboards."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from monitoring.assets import config_map, dashboards, text
from monitoring.objectives import Unfit
from monitoring.rules import RUNBOOKS, groups
from monitoring.scope import Scope
from monitoring.scrape import annotated_job, monitor_of_all, prometheus, static_job
from monitoring.specfile import NAME, Asked, read

OPERATOR = {"release": "prometheus"}
TARGET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>[0-9]{1,5})")
PORTS = range(1, 65536)
LABEL = re.compile(r"[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        check(args)
        asked = read(args.spec, args.namespace) if args.spec else Asked(Scope(args.namespace))
        labels = dict(pair(each) for each in args.label) or OPERATOR
        return render(args, asked, labels)
    except Unfit as error:
        where = f"{args.spec}: " if args.spec and not error.field.startswith("--") else ""
        print(f"{where}{error}", file=sys.stderr)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m monitoring", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    render = commands.add_parser("render", help="write rules, scrape configs and dashboards")
    render.add_argument("--spec", type=Path, metavar="serve.yaml", help="for this serve alone [default: for all]")
    render.add_argument("--namespace", metavar="NAME", help="of the serves [default: the spec's, or all]")
    render.add_argument(
        "--target", action="append", default=[], metavar="HOST:PORT", help="a server outside of Kubernetes"
    )
    render.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE",
        help="by which the Prometheus operator finds monitors and rules [release=prometheus]",
    )  # fmt: skip
    render.add_argument(
        "--monitoring-namespace", default="monitoring", metavar="NAME",
        help="where monitors, rules and dashboards go [monitoring]",
    )  # fmt: skip
    render.add_argument("--runbooks", default=RUNBOOKS, metavar="URL", help=f"where the runbooks are [{RUNBOOKS}]")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder to write to")
    return made


def check(args: argparse.Namespace) -> None:
    for option, namespace in (("--namespace", args.namespace), ("--monitoring-namespace", args.monitoring_namespace)):
        if namespace is not None and not NAME.fullmatch(namespace):
            raise Unfit(f"{option} {namespace}", "expected a name such as models")
    for target in args.target:
        found = TARGET.fullmatch(target)
        if not (found and int(found["port"]) in PORTS):
            raise Unfit(f"--target {target}", "expected HOST:PORT, such as localhost:8080")


def pair(written: str) -> tuple[str, str]:
    key, equals, value = written.partition("=")
    prefix, slash, name = key.rpartition("/")
    good = LABEL.fullmatch(name) and (not slash or PREFIX.fullmatch(prefix)) and (not value or LABEL.fullmatch(value))
    if not (good and equals):
        raise Unfit(f"--label {written}", "expected KEY=VALUE, such as release=prometheus")
    return key, value


def render(args: argparse.Namespace, asked: Asked, labels: Mapping[str, str]) -> int:
    written = files(asked, args.target, args.monitoring_namespace, labels, args.runbooks)
    for name, content in written.items():
        path = args.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    print(f"{args.output}: {len(written)} files for {asked.scope.name}", file=sys.stderr)
    return 0


def files(
    asked: Asked, targets: Sequence[str], namespace: str, labels: Mapping[str, str], runbooks: str
) -> dict[str, str]:
    """What is written, by its path in the folder."""
    ruled = {"groups": groups(asked.scope, asked.objectives, runbooks)}
    job = static_job(targets, asked.scope.namespace or "local", asked.scope.serve or "model")
    meta = {"name": "mlflow-kserve", "namespace": namespace, "labels": dict(labels)}
    if asked.scope.serve:
        meta["name"] = f"{asked.scope.serve}-{asked.scope.namespace}"
    found = {
        "rules.yaml": dumped(ruled),
        "prometheus.yml": dumped(prometheus([job if targets else annotated_job()])),
        "operator/rules.yaml": dumped(prometheus_rule(meta, ruled)),
        "operator/dashboards.yaml": dumped(config_map(asked.scope, f"{meta['name']}-dashboards", namespace, {})),
    }
    if not asked.scope.serve:
        found |= {
            "operator/podmonitor.yaml": dumped(monitor_of_all("PodMonitor", namespace, labels)),
            "operator/servicemonitor.yaml": dumped(monitor_of_all("ServiceMonitor", namespace, labels)),
        }
    return found | {f"dashboards/{name}": text(board) for name, board in dashboards(asked.scope).items()}


def prometheus_rule(meta: Mapping[str, Any], ruled: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": dict(meta), "spec": ruled}


def dumped(content: Any) -> str:
    made: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    return made
