"""What every command of the control plane has: where it is, who asks, how replies are shown, and exit codes."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from mlflow_kserve.cli.fields import with_options
from mlflow_kserve.cli.output import Format, rendered
from mlflow_kserve.client import calls
from mlflow_kserve.client.api import ApiClient
from mlflow_kserve.client.calls import ApiCall
from mlflow_kserve.client.errors import ApiConflict, ApiError, ApiFailed, ApiRefused, ApiUnreachable
from mlflow_kserve.client.flows import Steps
from mlflow_kserve.client.login import (
    DEFAULT_ENV,
    ENV,
    TOKEN_FILE,
    URL,
    UnusableLogin,
    current_login,
    kept_login,
    read_token,
)

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
FAILED, UNUSABLE, REFUSED, CONFLICT, UNREACHABLE, UNDER_WAY = range(1, 7)
WATCH_INTERVAL = 1.0
COMPLETION_SECONDS = 2.0


@dataclass
class Session:
    """A command that speaks to the control plane."""

    url: str | None
    token_file: Path | None
    form: Format

    @cached_property
    def client(self) -> ApiClient:
        return ApiClient(current_login(self.url, read_token(self.token_file) if self.token_file else None))

    def send(self, call: ApiCall[T]) -> T:
        return self.client.send(call)

    def follow(self, steps: Steps[T]) -> T:
        return self.client.follow(steps)

    def show(self, value: Any, columns: Sequence[str] = ()) -> None:
        click.echo(rendered(value, self.form, columns))


session_options = with_options(
    click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table",
                 help="how replies are shown [default: table]"),
    click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
                 help=f"file with the token [{TOKEN_FILE}; default: that of login]"),
    click.option("--url", metavar="URL", help=f"address of the control plane [{URL}; default: that of login]"),
)  # fmt: skip


def api_options(command: F) -> F:
    """The flags of a Session; the command gets it as its first argument."""

    @functools.wraps(command)
    def with_session(url: str | None, token_file: Path | None, output: Format, **options: Any) -> Any:
        with exit_codes(output):
            return command(Session(url, token_file, output), **options)

    return session_options(with_session)  # type: ignore[return-value]  # it takes other options


def completed(call: Callable[[], ApiCall[Any]]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the names that a control plane lists, if it answers at once."""

    def names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            listed = ApiClient(current_login(), timeout=COMPLETION_SECONDS).send(call())["items"]
        except (ApiError, UnusableLogin):
            return []
        return [each["name"] for each in listed if each["name"].startswith(incomplete)]

    return names


complete_serve, complete_env = completed(calls.list_serves), completed(calls.list_environments)


def argument_serve(command: F) -> F:
    return click.argument("serve", shell_complete=complete_serve)(command)


def default_env(fallback: str = DEFAULT_ENV) -> str:
    """The environment that is meant if none is named."""
    with exit_codes():
        return os.environ.get(ENV) or kept_login().env or fallback


def option_env(command: F) -> F:
    return click.option(
        "--env", default=default_env, metavar="NAME", shell_complete=complete_env,
        help=f"environment [{ENV}; default: that of login, or local]",
    )(command)  # fmt: skip


def shows(*columns: str, watch: bool = True) -> Callable[[F], Callable[..., Any]]:
    """A command that reads: its value is shown, and with --watch again whenever it has changed."""

    def decorator(command: F) -> Callable[..., Any]:
        @functools.wraps(command)
        def show(session: Session, watch: bool = False, **options: Any) -> None:
            value = command(session, **options)
            session.show(value, columns)
            while watch:
                time.sleep(WATCH_INTERVAL)
                shown, value = value, command(session, **options)
                if value != shown:
                    if sys.stdout.isatty():
                        click.clear()
                    session.show(value, columns)

        if watch:
            show = click.option("--watch", is_flag=True, help="show it again whenever it changes")(show)
        return api_options(show)

    return decorator


@contextmanager
def exit_codes(form: Format = "table") -> Iterator[None]:
    """Ends the process with a message and a status where the control plane does not do what was asked."""
    try:
        yield
    except (ApiError, UnusableLogin) as error:
        problem = error.problem if isinstance(error, ApiRefused) else {"detail": str(error)}
        click.echo(f"error: {error}" if form == "table" else rendered(problem, form), err=True)
        raise SystemExit(status_of(error)) from None


def status_of(error: Exception) -> int:
    match error:
        case ApiUnreachable():
            return UNREACHABLE
        case ApiConflict():
            return CONFLICT
        case ApiFailed():
            return FAILED
        case UnusableLogin():
            return UNUSABLE
        case _:
            return REFUSED
