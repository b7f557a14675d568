"""What counts as a fault of an answer under constant load, and that the program in the pod tells who answered."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.load import BASELINE, Answer, Life, Stream, faults
from sidestream_demo.process import wait_until

TESTS = Path(__file__).parents[2]
PROGRAM = TESTS / "e2e" / "load_in_pod.py"
ECHO = TESTS / "flow" / "wire" / "echo.py"
LIVES = [Life("ann", ready=10, leaves=20), Life("ann", ready=30, leaves=40)]


@pytest.mark.parametrize(
    ("tenant", "begin", "end", "who", "is_fault"),
    [
        pytest.param("", 12, 13, BASELINE, False, id="nobody's to the baseline"),
        pytest.param("", 12, 13, "ann", True, id="nobody's to a fork"),
        pytest.param("", 12, 13, "[503]", True, id="nobody's fails"),
        pytest.param("ann", 12, 13, "ann", False, id="a ready tenant's to its fork"),
        pytest.param("ann", 12, 13, BASELINE, True, id="a ready tenant's to the baseline"),
        pytest.param("ann", 32, 33, BASELINE, True, id="the same in its second life"),
        pytest.param("ann", 9, 11, BASELINE, False, id="a tenant's that began before it was ready"),
        pytest.param("ann", 19, 21, BASELINE, False, id="a tenant's that ended when it was leaving"),
        pytest.param("ann", 25, 26, "[503]", True, id="a tenant's between its lives fails"),
        pytest.param("ann", 12, 13, "ben", True, id="a tenant's to another's fork"),
        pytest.param("ben", 12, 13, BASELINE, False, id="of a tenant that has no fork"),
    ],
)
def test_an_answer_is_a_fault_where_it_could_not_be(
    tenant: str, begin: float, end: float, who: str, *, is_fault: bool
) -> None:
    answer = Answer(Stream("web", "kept", tenant), begin, end, who)
    assert (faults([answer], LIVES) == [answer]) is is_fault


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_every_way_tells_who_answered_and_what_came_instead() -> None:
    ports = {"http1": free_port(), "http2": free_port()}
    roles = [{"port": port, "protocol": protocol, "who": "baseline"} for protocol, port in ports.items()]
    headers = [["baggage", "tenant=ann"]]
    ways = [("kept", ports["http1"]), ("new", ports["http1"]), ("h2", ports["http2"]), ("new", free_port())]
    asked = [{"way": way, "host": "127.0.0.1", "port": port, "headers": headers} for way, port in ways]
    with subprocess.Popen([sys.executable, str(ECHO), json.dumps(roles)]) as echo:
        try:
            wait_until(lambda: all(is_open(port) for port in ports.values()), 20, "the echo to listen")
            command = [sys.executable, str(PROGRAM), json.dumps(asked)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
                time.sleep(2)
                output, _ = load.communicate(timeout=30)
        finally:
            echo.kill()

    who = {place: {item[3] for item in json.loads(output) if item[0] == place} for place in range(len(ways))}
    assert [who[place] for place in range(3)] == [{"baseline"}] * 3
    assert all(answer.startswith("[ConnectionRefused") for answer in who[3])


def is_open(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
