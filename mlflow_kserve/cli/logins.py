"""`mlflow-kserve login` and `configure`: which control plane is meant, and as whom one speaks to it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from mlflow_kserve.cli.session import exit_codes
from mlflow_kserve.client import calls
from mlflow_kserve.client.api import ApiClient, is_loopback
from mlflow_kserve.client.errors import ApiRefused
from mlflow_kserve.client.login import TOKEN, Login, UnusableLogin, keep, kept_login, read_token

HERMES_TOKEN = "HERMES_USER_TOKEN"  # noqa: S105 - the name of a variable


@click.command(help="Keep the address of a control plane, a token and an environment for later commands.")
@click.argument("url", required=False)
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="file with the token")
@click.option("--env", metavar="NAME", help="environment that is meant if none is named")
def login(url: str | None, token_file: Path | None, env: str | None) -> None:
    with exit_codes():
        kept = known_login()
        where = (url or kept.url).rstrip("/")
        token = read_token(token_file) if token_file else None
        if token is None and where == kept.url:
            token = kept.token
        client = ApiClient(Login(where, token))
        try:
            client.send(calls.list_environments())
        except ApiRefused as error:
            if error.status != 401 or token_file:
                raise
            token = asked_token()
            client = ApiClient(Login(where, token))
            client.send(calls.list_environments())
        if env is not None:
            client.send(calls.get_environment(env))
        report(keep(Login(where, token, env or kept.env)), where)


@click.command(help="Keep a token for later commands.")
@click.option("--token", metavar="TOKEN", help=f"the token [{HERMES_TOKEN}; default: it is asked for]")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="file with the token")
@click.option("--url", metavar="URL", help="address of the control plane [default: that of login]")
def configure(token: str | None, token_file: Path | None, url: str | None) -> None:
    with exit_codes():
        kept = known_login()
        token = token or (read_token(token_file) if token_file else None)
        token = token or os.environ.get(HERMES_TOKEN) or os.environ.get(TOKEN) or asked_token()
        login = replace(kept, token=token, url=(url or kept.url).rstrip("/"))
        report(keep(login), login.url)


def known_login() -> Login:
    """What was kept; nothing, if it cannot be read: it is written anew."""
    try:
        return kept_login()
    except UnusableLogin:
        return Login()


def asked_token() -> str:
    """The token, typed unseen or from a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True)).strip()
    token = sys.stdin.readline().strip()
    if not token:
        raise UnusableLogin("the control plane wants a token: expected --token-file, or a line on stdin")
    return token


def report(file: Path, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        click.echo("warning: this address is not encrypted: whoever is on the way can read the token", err=True)
    click.echo(f"Commands now speak to {url}; {file} keeps it.")
