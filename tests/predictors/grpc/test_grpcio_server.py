"""grpcio's server in place of ours: what the tests of services, which run against both, do not see."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as pb_grpc

from predictors.grpc.grpcio_server import address_of, headers_of
from predictors.pipeline.settings import Settings
from predictors.processes.ports import StartError, bound_ports
from tests.attack.attacked import good_message
from tests.predictors.grpc.wire import failed
from tests.serving import Running, children, in_thread, process, wait_for

OWN_POOL = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that asks for a token, and takes messages of up to 2 MB and two of them at a time."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text("a-token-of-16-characters\n")
    tokens.chmod(0o600)
    with in_thread(
        None, grpc_server="grpcio", token_file=str(tokens), max_body=2_000_000, max_in_flight_bytes=2_000_000
    ) as server:
        yield server


@pytest.fixture
def channel(limited: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(limited.grpc, OWN_POOL) as connected:
        yield connected


INFER = "/inference.GRPCInferenceService/ModelInfer"
TOKEN = (("authorization", "Bearer a-token-of-16-characters"),)


def test_callers_without_a_token_send_no_message(channel: grpc.Channel) -> None:
    """The call ends before its message is complete."""
    call = channel.stream_unary(INFER)

    def endless() -> Iterator[bytes]:
        yield from iter(lambda: bytes(1000), None)

    with pytest.raises(grpc.RpcError) as error:
        call(endless(), timeout=20)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_calls_with_a_token_are_answered(channel: grpc.Channel) -> None:
    reply = channel.unary_unary(INFER)(good_message().SerializeToString(), metadata=TOKEN, timeout=20)
    assert list(pb.ModelInferResponse.FromString(reply).outputs[0].contents.int64_contents) == [1]


def test_calls_without_a_message(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        channel.stream_unary(INFER)(iter(()), metadata=TOKEN, timeout=20)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_messages_that_are_too_large(channel: grpc.Channel) -> None:
    assert failed(channel, INFER, bytes(2_000_001), metadata=TOKEN)[0] == "RESOURCE_EXHAUSTED"


def test_compressed_messages(channel: grpc.Channel) -> None:
    infer = channel.unary_unary(INFER)
    assert infer(good_message(100).SerializeToString(), metadata=TOKEN, compression=grpc.Compression.Gzip, timeout=20)
    with pytest.raises(grpc.RpcError) as error:  # 3 MB of zeros
        infer(bytes(3_000_000), metadata=TOKEN, compression=grpc.Compression.Gzip, timeout=20)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_unknown_methods(channel: grpc.Channel) -> None:
    assert failed(channel, "/no/such") == ("UNIMPLEMENTED", "no such method; reflection lists them all")


def test_workers_share_the_port(tmp_path: Path) -> None:
    """Each answers calls, and connections to one that ends are opened anew to the others."""
    with process(tmp_path, "--workers", "2", "--grpc-server", "grpcio") as server:

        def listening() -> int:
            return sum(bool(listeners(pid, int(server.running.grpc.rpartition(":")[2]))) for pid in workers)

        workers = children(server.process.pid)
        wait_for(lambda: listening() == 2)
        for _ in range(10):
            with grpc.insecure_channel(server.running.grpc, OWN_POOL) as connected:
                assert pb_grpc.GRPCInferenceServiceStub(connected).ModelInfer(good_message(), timeout=20).outputs
        assert server.terminate(signal.SIGTERM) == 0


def listeners(pid: int, port: int) -> list[Any]:
    connections = psutil.Process(pid).connections("tcp")
    return [one for one in connections if one.status == psutil.CONN_LISTEN and one.laddr.port == port]


def test_a_port_of_another_server_is_refused() -> None:
    """Though grpcio's servers could share it."""
    with in_thread(None, grpc_server="grpcio") as server:
        port = int(server.grpc.rpartition(":")[2])
        with pytest.raises(StartError, match="Address already in use"):
            bound_ports(Settings(host="127.0.0.1", http_port=0, grpc_port=port, grpc_server="grpcio"))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("ipv6:%5B2001:db8::1%5D:8081", ("2001:db8::1", 8081)),
    ],
)
def test_addresses_of_peers(peer: str, address: tuple[str, int]) -> None:
    assert address_of(peer) == address


def test_metadata_is_as_on_the_wire() -> None:
    metadata = (("x-tenant", "a"), ("k-bin", b"\x00\x01"))
    assert headers_of("/a/B", metadata) == ((b":path", b"/a/B"), (b"x-tenant", b"a"), (b"k-bin", b"AAE"))
