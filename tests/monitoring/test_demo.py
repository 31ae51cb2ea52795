"""What the demo adds to the parts that other tests use: Grafana, and an end without noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from loadtest.peers.ports import free_port
from monitoring.assets import ALL_BOARDS
from tools.monitoring import demo
from tools.monitoring.traffic import Caller

STANDS_IN = f"""#!{sys.executable}
import http.server, json, os, sys
open("{{said}}", "w").write(json.dumps([sys.argv[1:], dict(os.environ)]))
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *words): pass
http.server.HTTPServer((os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])), Healthy).serve_forever()
"""


def test_grafana_is_provisioned_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the program in its home: what packages put on the path may not read its configuration as just anybody."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    program = home / "bin" / "grafana"
    for directory in (program.parent, folder):
        directory.mkdir(parents=True)
    program.write_text(STANDS_IN.replace("{said}", str(tmp_path / "said.json")))
    program.chmod(0o755)
    monkeypatch.setattr(demo, "GRAFANA", (str(tmp_path / "none"), str(home)))
    with demo.grafana(folder, "http://127.0.0.1:9090") as url:
        assert url
    words, env = json.loads((tmp_path / "said.json").read_text())
    assert words == ["server", "--homepath", str(home)]
    # Its home belongs to root: nothing may be written there.
    assert all(env[f"GF_PATHS_{what}"].startswith(str(folder)) for what in ("DATA", "LOGS", "PLUGINS", "PROVISIONING"))
    provisioned = Path(env["GF_PATHS_PROVISIONING"])
    (source,) = yaml.safe_load((provisioned / "datasources" / "all.yaml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://127.0.0.1:9090", True)
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "all.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    assert {path.name for path in Path(provider["options"]["path"]).iterdir()} == set(ALL_BOARDS)


def test_without_grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "GRAFANA", (str(tmp_path / "none"),))
    with demo.grafana(tmp_path, "http://127.0.0.1:9090") as url:
        assert url is None


def test_a_server_that_has_ended_is_no_answer() -> None:
    """With Ctrl-C servers and traffic end in no order."""
    caller = Caller(f"http://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", "gone", ("seconds",))
    assert not any(send([[0.0]]) for send in caller.protocols.values())
    assert not caller.wrong()
