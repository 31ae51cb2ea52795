"""The image of the control plane: it starts as a chart starts it, keeps its database on a volume, and ends well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadtest.peers.ports import free_port
from tests.images.containers import TMP, Containers
from tests.serving import answers, wait_for

TOKEN = "a-token-of-somebody-who-may-everything"


def test_it_answers_and_keeps_what_it_was_told(containers: Containers, controlplane: str, volumes: Any) -> None:
    data, port = volumes("data"), free_port()
    tokens = Path(volumes("tokens"), "tokens")
    tokens.write_text(TOKEN)
    options = (*TMP, f"--volume={data}:/data", f"--volume={tokens}:/etc/tokens:ro")
    words = ("up", "--host=0.0.0.0", f"--port={port}", "--data=/data", "--admin-token-file=/etc/tokens")
    bearing = {"authorization": f"Bearer {TOKEN}"}
    for begins in (True, False):
        with containers.started(controlplane, port, 0, *words, options=options) as container:
            client = container.running.client
            wait_for(lambda: answers(client, "/healthcheck") == 200, container.failure)  # noqa: B023 - within the loop
            assert client.get("/readycheck").json()["status"] == "ok"
            assert client.get("/api/v1/serve").status_code == 401
            if begins:
                client.post("/api/v1/serve", json={"name": "fraud"}, headers=bearing).raise_for_status()
            names = [each["name"] for each in client.get("/api/v1/serve", headers=bearing).json()["items"]]
            assert names == ["fraud"]
            assert "mlflow-kserve" in client.get("/ui/sign-in").text
            assert container.execute("id", "-u").stdout.strip() == "65532"
            assert container.execute("touch", "/srv/x").returncode != 0
            assert container.terminate() == 0, container.log


def test_it_listens_to_nobody_without_tokens(containers: Containers, controlplane: str, volumes: Any) -> None:
    done = containers.run(controlplane, options=(*TMP, f"--volume={volumes('unused')}:/data"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "token" in done.stderr


def test_what_is_said_of_it(containers: Containers, controlplane: str, base: str) -> None:
    config = containers.config(controlplane)
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["version"]) == ("mlflow-kserve control plane", "0.1.0")
    assert (labels["base.name"], len(labels["revision"])) == (base, 40)
    assert (config["User"], config["Entrypoint"]) == ("65532:65532", ["mlflow-kserve"])
