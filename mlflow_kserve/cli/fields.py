"""Flags that become fields of a body."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class JsonObject(click.ParamType):
    """A JSON object, as text."""

    name = "json"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, Mapping):
            return value
        try:
            content = json.loads(value)
        except ValueError as error:
            self.fail(f"is not JSON: {error}", parameter, context)
        if not isinstance(content, dict):
            self.fail("is not a JSON object: expected such as '{\"cores\": 2}'", parameter, context)
        return content


class ObjectFile(click.ParamType):
    """A YAML or JSON file that holds an object; - is stdin."""

    name = "file"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, Mapping):
            return value
        return self.parsed(value, parameter, context)

    def parsed(self, name: str, parameter: click.Parameter | None, context: click.Context | None) -> Mapping[str, Any]:
        import yaml

        try:
            text = click.get_text_stream("stdin").read() if name == "-" else Path(name).read_text()
            content = yaml.safe_load(text)
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{name}: {getattr(error, 'strerror', None) or error}", parameter, context)
        except yaml.YAMLError as error:
            self.fail(f"{name} is neither YAML nor JSON: {error}", parameter, context)
        if not isinstance(content, dict):
            self.fail(f"{name} does not hold an object", parameter, context)
        return content


class Assignment(click.ParamType):
    """NAME=VALUE; the value is JSON, or else text."""

    name = "name=value"

    def __init__(self, as_text: bool = False) -> None:
        self.as_text = as_text

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=VALUE", parameter, context)
        return name, text if self.as_text else json_or_text(text)


def json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def flag(name: str, help: str, type: Any = str, **options: Any) -> Callable[[F], F]:
    """A flag that is a field if it is given."""
    return click.option(f"--{name}", type=type, help=help, metavar=options.pop("metavar", None), **options)


def option_file(command: F) -> F:
    return click.option("-f", "--file", type=ObjectFile(), metavar="FILE", help="YAML or JSON with fields; - is stdin")(
        command
    )


def option_set(command: F) -> F:
    return click.option(
        "--set", "assigned", type=Assignment(), multiple=True, metavar="FIELD=VALUE",
        help="any field of the API, as JSON or text",
    )(command)  # fmt: skip


def stated(**values: Any) -> dict[str, Any]:
    """The fields that were given."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def body(file: Mapping[str, Any] | None, assigned: tuple[tuple[str, Any], ...], **values: Any) -> dict[str, Any]:
    """The fields of a file, under those of --set, under those with flags of their own."""
    return {**(file or {}), **dict(assigned), **stated(**values)}


def resource_flags(command: F) -> F:
    """The infrastructure of a serve, in the API's words."""
    for option in (
        flag("node-capacity", "kind of node", click.Choice(["spot", "ondemand"])),
        flag("max-replicas", "maximum number of pods", int),
        flag("min-replicas", "minimum number of pods", int),
        flag("memory", "GiB for each pod", int),
        flag("cores", "cores for each pod", int),
    ):
        command = option(command)
    return command


option_variables = click.option(
    "--variable", "variables", type=Assignment(as_text=True), multiple=True, metavar="NAME=VALUE",
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
