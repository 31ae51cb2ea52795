"""`mlflow-kserve conformance URL`: the conformance suite against any server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import click

from mlflow_kserve.cli.session import UNREACHABLE, UNUSABLE

PACKAGES = ("pytest", "httpx")
INDEX_SECONDS = 10


@click.command(help="Check a server against the Open Inference Protocol. Flags after -- are pytest's own.")
@click.argument("url")
@click.option("--model", metavar="NAME", help="name of the model [default: the one of the server's repository index]")
@click.option("--grpc", metavar="HOST:PORT", help="also check gRPC")
@click.option("--model-version", metavar="V", help="a version of the model that the server has")
@click.option(
    "--input",
    "sample",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="a V2 request whose inputs the model accepts",
)
@click.option("--destructive", is_flag=True, help="also unload and load the model")
@click.argument("pytest_flags", nargs=-1, type=click.UNPROCESSED)
def conformance(
    url: str, model: str | None, grpc: str | None, model_version: str | None, sample: str | None, destructive: bool,
    pytest_flags: tuple[str, ...],
) -> None:  # fmt: skip
    folder = suite()
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if folder is None or missing:
        what = f"not installed: {', '.join(missing)}" if missing else "the suite is not installed"
        click.echo(f"mlflow-kserve conformance: {what}; pip install 'mlflow-kserve[conformance]'", err=True)
        raise SystemExit(UNUSABLE)
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} is not a URL: expected such as http://127.0.0.1:8080", param_hint="URL")
    flags = {"--url": url, "--model": model or only_model(url), "--grpc": grpc, "--model-version": model_version}
    command = [
        sys.executable, "-m", "pytest", str(folder), "--rootdir", str(folder), "--import-mode=importlib",
        "-p", "no:cacheprovider", "-q",
    ]  # fmt: skip
    command += [text for name, value in flags.items() if value for text in (name, value)]
    command += ["--input", str(Path(sample).resolve())] if sample else []
    command += ["--destructive"] if destructive else []
    raise SystemExit(subprocess.run([*command, *pytest_flags], cwd=folder, check=False).returncode)  # noqa: S603


def suite() -> Path | None:
    """The folder of the suite: installed with the package, or that of a clone."""
    package = Path(__file__).parents[1]
    places = (package / "conformance", package.parent / "tests" / "conformance")
    return next((place for place in places if (place / "conftest.py").is_file()), None)


def only_model(url: str) -> str:
    """The name of the one model that the server has."""
    names = list(models(url))
    if len(names) != 1:
        there = f"it has {', '.join(names)}" if names else "it names none"
        raise click.UsageError(f"the server has no single model ({there}): expected --model NAME")
    return names[0]


def models(url: str) -> Iterator[str]:
    import json

    request = Request(  # noqa: S310 - the command takes http and https alone
        f"{url.rstrip('/')}/v2/repository/index", b"{}", {"content-type": "application/json"}
    )
    try:
        with urlopen(request, timeout=INDEX_SECONDS) as response:  # noqa: S310
            listed = json.load(response)
    except URLError as error:
        if not hasattr(error, "code"):
            click.echo(f"error: nothing answers at {url}: {error.reason}", err=True)
            raise SystemExit(UNREACHABLE) from None
        listed = []
    except (OSError, ValueError):
        listed = []
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, dict) and isinstance(each.get("name"), str):
            yield each["name"]
