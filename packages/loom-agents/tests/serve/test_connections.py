"""Slow clients and many connections, with raw sockets on loopback."""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

PRODUCT = Path(__file__).parent / "product_process.py"
LIMITS = "connections=8, connections_per_client=6, streams_per_token=2, head_s=1.0, body_s=0.6, unread_s=0.6"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Return the port and the token of a server with low limits."""
    database = tmp_path_factory.mktemp("limits") / "runs.sqlite"
    command = [sys.executable, str(PRODUCT), str(database), "0", LIMITS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address, token = process.stdout.readline().split()
    yield int(address.rstrip("/").rpartition(":")[2]), token
    process.terminate()
    assert "Traceback" not in process.communicate(timeout=20)[1]


@pytest.fixture
def connect(server: tuple[int, str]) -> Iterator[Callable[..., socket.socket]]:
    with ExitStack() as opened:

        def connect(source: str = "127.0.0.1") -> socket.socket:
            made = socket.create_connection(("127.0.0.1", server[0]), timeout=5, source_address=(source, 0))
            return opened.enter_context(made)

        yield connect
    time.sleep(0.1)  # until the server has seen the ends


def until_closed(connection: socket.socket) -> bytes:
    """Return what arrives until the server closes the connection."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def drip(connection: socket.socket, piece: bytes) -> bytes:
    """Send a byte again and again until the server closes; return what it answered."""
    end = time.monotonic() + 5
    connection.settimeout(0.05)
    received = b""
    while time.monotonic() < end:
        try:
            connection.sendall(piece)
            if not (more := connection.recv(65536)):
                return received
            received += more
        except TimeoutError:
            continue
        except OSError:
            return received
    raise AssertionError("the connection was not closed")


def test_a_head_that_arrives_byte_by_byte_is_cut(connect: Callable[..., socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
    assert b" 408 " in drip(connection, b"x").partition(b"\r\n")[0]


def test_a_connection_that_sends_nothing_is_closed(connect: Callable[..., socket.socket]) -> None:
    assert b" 408 " in until_closed(connect())


def test_a_body_that_arrives_byte_by_byte_is_cut(
    connect: Callable[..., socket.socket], server: tuple[int, str]
) -> None:
    connection = connect()
    head = f"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server[1]}\r\ncontent-length: 9999"
    connection.sendall(head.encode() + b"\r\ncontent-type: application/json\r\n\r\n")
    assert b" 408 " in drip(connection, b"x").partition(b"\r\n")[0]


def test_a_body_that_nobody_reads_is_cut(connect: Callable[..., socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n")
    assert b" 200 " in drip(connection, b"x").partition(b"\r\n")[0]


def test_a_client_within_the_limits_keeps_its_connection(server: tuple[int, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server[0], timeout=5)
    connection.connect()
    first = connection.sock
    for _ in range(9):
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b'{"status":"ok"}')
        time.sleep(0.15)
    assert connection.sock is first
    connection.close()


def test_one_address_and_all_together_have_a_limited_number_of_connections(
    connect: Callable[..., socket.socket],
) -> None:
    for _ in range(6):
        connect()
    extra = connect()
    extra.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    answer = until_closed(extra)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"6 connections of this client are open" in answer
    for _ in range(2):
        connect("127.0.0.2")
    extra = connect("127.0.0.3")
    extra.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert until_closed(extra).startswith(b"HTTP/1.1 503 ")


def test_closed_connections_make_room(connect: Callable[..., socket.socket]) -> None:
    for _ in range(20):
        connection = connect()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert until_closed(connection).startswith(b"HTTP/1.1 200 ")
        connection.close()


def test_a_token_has_a_limited_number_of_streams(
    connect: Callable[..., socket.socket], server: tuple[int, str]
) -> None:
    request = f"GET /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server[1]}\r\n\r\n".encode()

    def opened() -> tuple[socket.socket, bytes]:
        connection = connect()
        connection.sendall(request)
        return connection, connection.recv(4096)

    (first, one), (_, two), (_, three) = opened(), opened(), opened()
    assert [answer.split(b" ")[1] for answer in (one, two, three)] == [b"200", b"200", b"429"]
    first.close()
    end = time.monotonic() + 5
    while opened()[1].split(b" ")[1] != b"200":
        assert time.monotonic() < end
        time.sleep(0.3)


def test_a_client_that_does_not_read_is_cut(connect: Callable[..., socket.socket], server: tuple[int, str]) -> None:
    connection = connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = b"GET /page.js HTTP/1.1\r\nhost: localhost\r\n\r\n"
    end = time.monotonic() + 8
    connection.settimeout(0.2)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        while time.monotonic() < end:
            try:
                connection.sendall(request)
            except TimeoutError:
                continue
