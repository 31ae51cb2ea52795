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
from monitoring.specfile import ServeOptions, read
from monitoring.values import DNS_1123, LABEL_KEY, LABEL_VALUE

PROG = "python -m monitoring"
OPERATOR = {"release": "prometheus"}
TARGET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(?P<port>[0-9]{1,5})")
PORTS = range(1, 65536)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    args = parser(prog).parse_args(argv)
    try:
        check(args)
        serve = read(args.spec, args.namespace) if args.spec else ServeOptions(Scope(args.namespace))
        labels = dict(label_pair(each) for each in args.label) or OPERATOR
        return render(args, serve, labels)
    except Unfit as error:
        where = f"{args.spec}: " if args.spec and not error.field.startswith("--") else ""
        print(f"{where}{error}", file=sys.stderr)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def parser(prog: str = PROG) -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog=prog, description="Writes rules, scrape configs and dashboards.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    render = commands.add_parser("render", help="write rules, scrape configs and dashboards")
    render.add_argument("--spec", type=Path, metavar="serve.yaml", help="render for this serve only [default: for all]")
    render.add_argument("--namespace", metavar="NAME", help="namespace of the serves [default: the spec's, or all]")
    render.add_argument(
        "--target", action="append", default=[], metavar="HOST:PORT", help="a server outside Kubernetes"
    )
    render.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE",
        help="label by which the Prometheus operator finds monitors and rules [release=prometheus]",
    )  # fmt: skip
    render.add_argument(
        "--monitoring-namespace", default="monitoring", metavar="NAME",
        help="namespace of monitors, rules and dashboards [monitoring]",
    )  # fmt: skip
    render.add_argument("--runbooks", default=RUNBOOKS, metavar="URL", help=f"base URL of the runbooks [{RUNBOOKS}]")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    return root


def check(args: argparse.Namespace) -> None:
    for option, namespace in (("--namespace", args.namespace), ("--monitoring-namespace", args.monitoring_namespace)):
        if namespace is not None and not re.fullmatch(DNS_1123, namespace):
            raise Unfit(f"{option} {namespace}", "expected a name such as models")
    for target in args.target:
        match = TARGET.fullmatch(target)
        if not (match and int(match["port"]) in PORTS):
            raise Unfit(f"--target {target}", "expected HOST:PORT, such as localhost:8080")


def label_pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (equals and re.fullmatch(LABEL_KEY, key) and re.fullmatch(LABEL_VALUE, value)):
        raise Unfit(f"--label {text}", "expected KEY=VALUE, such as release=prometheus")
    return key, value


def render(args: argparse.Namespace, serve: ServeOptions, labels: Mapping[str, str]) -> int:
    written = files(serve, args.target, args.monitoring_namespace, labels, args.runbooks)
    for name, content in written.items():
        path = args.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    print(f"{args.output}: {len(written)} files for {serve.scope.name}", file=sys.stderr)
    return 0


def files(
    serve: ServeOptions, targets: Sequence[str], namespace: str, labels: Mapping[str, str], runbooks: str
) -> dict[str, str]:
    """The contents of the files, by their paths in the folder."""
    spec = {"groups": groups(serve.scope, serve.objectives, runbooks)}
    job = static_job(targets, serve.scope.namespace or "local", serve.scope.serve or "model")
    meta = {"name": "mlflow-kserve", "namespace": namespace, "labels": dict(labels)}
    if serve.scope.serve:
        meta["name"] = f"{serve.scope.serve}-{serve.scope.namespace}"
    contents = {
        "rules.yaml": dumped(spec),
        "prometheus.yml": dumped(prometheus([job if targets else annotated_job()])),
        "operator/rules.yaml": dumped(prometheus_rule(meta, spec)),
        "operator/dashboards.yaml": dumped(config_map(serve.scope, f"{meta['name']}-dashboards", namespace, {})),
    }
    if not serve.scope.serve:
        contents |= {
            "operator/podmonitor.yaml": dumped(monitor_of_all("PodMonitor", namespace, labels)),
            "operator/servicemonitor.yaml": dumped(monitor_of_all("ServiceMonitor", namespace, labels)),
        }
    return contents | {f"dashboards/{name}": text(board) for name, board in dashboards(serve.scope).items()}


def prometheus_rule(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": dict(meta),
        "spec": spec,
    }


def dumped(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000))
