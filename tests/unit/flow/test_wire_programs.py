"""The echo and the client that routing tests send requests with, as pods get them but without a proxy in between."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from flow.wire import programs
from flow.wire.asking import GRPC, HTTP1, HTTP2, WEBSOCKET, Ask, Told

LINES = (("baggage", "a=b"), ("X-Other", "c"), ("Baggage", "tenant=alice"))
LONG = ",".join(f"key{number}=value" for number in range(1200))

AskAll = Callable[[Sequence[Ask]], list[Told]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ConfigMap as a pod sees it."""
    folder = tmp_path_factory.mktemp("wire")
    held = programs.config_map("shop")
    for name, text in held["data"].items():
        (folder / name).write_text(text)
    for name, encoded in held["binaryData"].items():
        (folder / name).write_bytes(base64.b64decode(encoded))
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    (setting,) = programs.container("image", "command")["env"]
    return {**os.environ, setting["name"]: setting["value"].replace(programs.FOLDER, str(folder))}


@pytest.fixture(scope="module")
def ports(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, int]]:
    """An echo as `orders`: its port by protocol."""
    found = dict(zip((HTTP1, HTTP2), free_ports(2), strict=True))
    roles = [{"port": port, "protocol": protocol, "who": "orders"} for protocol, port in found.items()]
    with subprocess.Popen([sys.executable, folder / "echo.py", json.dumps(roles)], env=environment) as server:
        try:
            for port in found.values():
                until_open(port)
            yield found
        finally:
            server.terminate()


@pytest.fixture
def ask(folder: Path, environment: dict[str, str]) -> AskAll:
    """Runs the client."""

    def ask_all(asks: Sequence[Ask]) -> list[Told]:
        question = json.dumps([item.to_json() for item in asks])
        command = [sys.executable, str(folder / "client.py")]
        done = subprocess.run(command, input=question, capture_output=True, text=True, check=True, env=environment)
        return [Told.from_json(answer) for answer in json.loads(done.stdout)]

    return ask_all


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for item in found:
            item.bind(("", 0))
        return [item.getsockname()[1] for item in found]


def until_open(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def asking(ports: dict[str, int], protocol: str, path: str = "/", *lines: tuple[str, str]) -> Ask:
    port = ports[HTTP1 if protocol in (HTTP1, WEBSOCKET) else HTTP2]
    method = "POST" if protocol == GRPC else "GET"
    return Ask("orders.shop", path, method, lines, protocol, port, address="127.0.0.1")


@pytest.mark.parametrize("protocol", [HTTP1, HTTP2, GRPC, WEBSOCKET])
def test_who_was_asked_says_so_and_what_it_was_asked(protocol: str, ports: dict[str, int], ask: AskAll) -> None:
    (told,) = ask([asking(ports, protocol, "/a%2Fb?c=d", *LINES)])

    assert told.error == ""
    assert told.status == (101 if protocol == WEBSOCKET else 200)
    assert (told.who, told.protocol, told.path) == ("orders", protocol, "/a%2Fb?c=d")
    assert told.seen["host"] == ["orders.shop"]
    assert told.seen["baggage"] == ["a=b", "tenant=alice"]
    assert told.seen["x-other"] == ["c"]


@pytest.mark.parametrize("protocol", [HTTP1, HTTP2, GRPC, WEBSOCKET])
def test_a_header_may_be_long(protocol: str, ports: dict[str, int], ask: AskAll) -> None:
    (told,) = ask([asking(ports, protocol, "/", ("baggage", LONG))])

    assert told.seen["baggage"] == [LONG]


def test_a_unary_call_ends_with_its_status(ports: dict[str, int], ask: AskAll) -> None:
    (told,) = ask([asking(ports, GRPC, "/wire.Echo/Ask")])

    assert told.headers["grpc-status"] == "0"
    assert told.seen["content-type"] == ["application/grpc+json"]


def test_many_requests_are_answered_in_their_order(ports: dict[str, int], ask: AskAll) -> None:
    protocols = [HTTP1, HTTP2, GRPC, WEBSOCKET]
    asks = [asking(ports, protocols[number % 4], f"/{number}") for number in range(200)]

    assert [told.path for told in ask(asks)] == [f"/{number}" for number in range(200)]


def test_a_request_without_an_answer_says_why(ports: dict[str, int], ask: AskAll) -> None:
    (nobody,) = free_ports(1)
    refused, answered = ask([asking({HTTP1: nobody}, HTTP1), asking(ports, HTTP1)])

    assert "ClientConnectorError" in refused.error
    assert answered.who == "orders"


def test_the_libraries_are_those_of_the_config_map(folder: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import h2, hpack, hyperframe; print(h2.__file__, hpack.__file__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    assert all(path.startswith(str(folder)) for path in done.stdout.split())
