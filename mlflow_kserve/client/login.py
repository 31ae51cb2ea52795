"""Which control plane commands and programs speak to, and as whom: variables over what `login` has kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

LOCAL_URL = "http://127.0.0.1:8007"
URL, TOKEN, TOKEN_FILE, ENV = (f"MLFLOW_KSERVE_API_{name}" for name in ("URL", "TOKEN", "TOKEN_FILE", "ENV"))
"""Variables; MLFLOW_KSERVE_TOKEN_FILE and the like are settings of the server."""
DEFAULT_ENV = "local"


class UnusableLogin(ValueError):
    """A login or a file of a token that cannot be read; the message names it."""


@dataclass(frozen=True)
class Login:
    url: str = LOCAL_URL
    token: str | None = None
    env: str = ""
    """The environment that is meant if none is named; empty for none."""


def login_file() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "mlflow-kserve" / "login.json"


def kept_login() -> Login:
    file = login_file()
    try:
        return Login(**json.loads(file.read_text()))
    except FileNotFoundError:
        return Login()
    except (OSError, ValueError, TypeError) as error:
        raise UnusableLogin(f"{file} cannot be used ({error}): `mlflow-kserve login` writes it anew") from None


def keep(login: Login) -> Path:
    """Writes the login for this person alone."""
    file = login_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        json.dump(asdict(login), opened)
    unfinished.replace(file)
    return file


def current_login(url: str | None = None, token: str | None = None) -> Login:
    """The login with what is said in the call or in variables; a kept token goes to its own control plane alone."""
    kept = kept_login()
    where = url or os.environ.get(URL) or kept.url
    token = token or token_of_environment()
    if token is None and where.rstrip("/") == kept.url.rstrip("/"):
        token = kept.token
    return Login(where, token, os.environ.get(ENV) or kept.env or DEFAULT_ENV)


def token_of_environment() -> str | None:
    if token := os.environ.get(TOKEN):
        return token
    file = os.environ.get(TOKEN_FILE)
    return read_token(Path(file)) if file else None


def read_token(file: Path) -> str:
    """Raises UnusableLogin."""
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableLogin(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not token or not token.isascii() or any(char.isspace() for char in token):
        raise UnusableLogin(f"{file} does not hold a token")
    return token
