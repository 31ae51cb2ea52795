"""Flags that become fields of a body."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_object(text: str) -> Mapping[str, Any]:
    """The object that a text is in JSON."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise click.BadParameter("is not a JSON object: expected such as '{\"cores\": 2}'")
    return content


def object_file(name: str) -> Mapping[str, Any]:
    """The object in a YAML or JSON file; - is stdin."""
    import yaml

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise click.BadParameter(f"{name} is neither YAML nor JSON: {error}") from None
    if not isinstance(content, dict):
        raise click.BadParameter(f"{name} does not hold an object")
    return content


def text_assignment(text: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def assignment(text: str) -> tuple[str, Any]:
    """The same; the value is JSON, or else text."""
    name, value = text_assignment(text)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def with_options(*given: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options as one; --help lists the last of them first."""

    def decorator(command: F) -> F:
        for option in given:
            command = option(command)
        return command

    return decorator


def flag(name: str, help: str, type: Any = str, **options: Any) -> Callable[[F], F]:
    """A flag that is a field if it is given."""
    return click.option(f"--{name}", type=type, help=help, metavar=options.pop("metavar", None), **options)


def option_file(command: F) -> F:
    return click.option("-f", "--file", type=object_file, metavar="FILE", help="YAML or JSON with fields; - is stdin")(
        command
    )


def option_set(command: F) -> F:
    return click.option(
        "--set", "assigned", type=assignment, multiple=True, metavar="FIELD=VALUE",
        help="any field of the API, as JSON or text",
    )(command)  # fmt: skip


def stated(**values: Any) -> dict[str, Any]:
    """The fields that were given."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def body(file: Mapping[str, Any] | None, assigned: tuple[tuple[str, Any], ...], **values: Any) -> dict[str, Any]:
    """The fields of a file, under those of --set, under those with flags of their own."""
    return {**(file or {}), **dict(assigned), **stated(**values)}


resource_flags = with_options(
    flag("node-capacity", "kind of node", click.Choice(["spot", "ondemand"])),
    flag("max-replicas", "maximum number of pods", int),
    flag("min-replicas", "minimum number of pods", int),
    flag("memory", "GiB for each pod", int),
    flag("cores", "cores for each pod", int),
)
"""The infrastructure of a serve, in the API's words."""

strategy_flags = with_options(
    flag("deployment-strategy-config", "fields of the strategy, such as '{\"steps\": [5, 50], \"interval\": \"1m\"}'",
         json_object, metavar="JSON"),
    flag("deployment-strategy", "how the requests come to it",
         click.Choice(["rolling", "canary", "linear", "blue-green"])),
)  # fmt: skip

follow_flag = flag(
    "follow", "whether a URI that moves is followed: by the server, or by a rollout",
    click.Choice(["hot", "rollout", "off"]),
)  # fmt: skip
option_variables = click.option(
    "--variable", "variables", type=text_assignment, multiple=True, metavar="NAME=VALUE",
    help="environment variable of the server; a secret is NAME=secret:SECRET/KEY",
)  # fmt: skip


def variables_of(variables: tuple[tuple[str, str], ...]) -> dict[str, Any] | None:
    """Variables as the API takes them; None if there are none."""
    return {name: reference(text) for name, text in variables} or None


def reference(text: str) -> Any:
    if not text.startswith("secret:"):
        return text
    secret, _, key = text.removeprefix("secret:").rpartition("/")
    return {"secret": secret, "key": key}
