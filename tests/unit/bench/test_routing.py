"""The benchmark of routing measures what it says: real rules, real writes, and answers from the right place."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.routing import latency
from bench.routing.arrivals import Times
from bench.routing.arrivals import figures as arrival_figures
from bench.routing.latency import QUIET, WAYS, baggage
from bench.routing.measure import RECONCILED, reconcile_figures
from bench.routing.pods import Request
from bench.routing.reconcile import measure
from sidestream_demo.process import wait_until

PROGRAM = Path(__file__).parents[3] / "bench" / "routing" / "in_pod.py"


@pytest.mark.parametrize("provider", RECONCILED)
def test_a_tenant_more_is_one_route_and_its_sandboxs_two_rows(provider: str) -> None:
    cost = asyncio.run(measure(provider, 30, 3))

    assert (cost.route_writes, cost.row_writes) == (1, 2)
    assert len(cost.cpu_ms) == 3
    assert min(cost.cpu_ms) > 0


def test_what_a_process_reports_is_kept_to_its_limits() -> None:
    found = reconcile_figures("VirtualService", 10, 2)

    assert found["route_writes_virtualservice"].holds
    assert found["reconcile_cpu_ms_virtualservice"].limit == 100
    assert found["route_writes_virtualservice"].limit == 1


@pytest.mark.parametrize("size", [1, 300, 301])
def test_baggage_is_as_long_as_it_is_said_to_be_and_names_no_tenant(size: int) -> None:
    assert len(baggage(size)) == size
    assert "tenant" not in baggage(size)


def test_a_ratio_is_that_of_medians_and_only_guarded_ways_have_a_limit() -> None:
    times = {QUIET: [100, 200, 300], latency.ALSO_QUIET: [200] * 3, **{way.host: [220, 230, 900] for way in WAYS}}
    found = dict(latency.figures(times))

    assert found["median_ratio_1000_tenants_virtualservice"].value == 1.15
    assert not found["median_ratio_1000_tenants_virtualservice"].holds
    assert not found["median_ratio_1000_tenants_virtualservice_exact"].holds
    assert found["median_ratio_1000_tenants_httproute"].holds
    assert found["control_ratio"].value == 1.0
    assert "median_ratio_1000_tenants_traefik" not in found
    with_traefik = {**times, latency.QUIET_AT_TRAEFIK: [100] * 3, latency.AT_TRAEFIK.host: [112] * 3}
    assert dict(latency.figures(with_traefik))["median_ratio_1000_tenants_traefik"].holds is False


def test_an_edit_that_takes_longer_than_two_seconds_is_told() -> None:
    found = arrival_figures(Times([1.0, 2.0], [1.5, 2.5], [3.0], [0.3], [0.4, 2.1]))

    assert found["routed_p50_s"].value == 1.0
    assert found["routed_p99_s"].value == 2.0
    assert found["at_once_after_pod_p50_s"].value == 0.3
    assert not found["edit_max_s"].holds


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """The server of both roles, each at its port."""
    found = {name: _free_port() for name in ("baseline", "fork")}
    words = [word for name, port in found.items() for word in (str(port), name)]
    with subprocess.Popen([sys.executable, str(PROGRAM), "serve", *words]) as server:
        try:
            wait_until(lambda: all(_is_open(port) for port in found.values()), 20, "the server to listen")
            yield found
        finally:
            server.kill()


def test_the_program_in_the_pod_asks_and_takes_times(ports: dict[str, int]) -> None:
    requests = [Request("127.0.0.1", (("baggage", "a=b"),), port=port).to_json() for port in ports.values()]

    assert [item["body"] for item in json.loads(_run("ask", requests))] == ["baseline", "fork"]
    times = json.loads(_run("time", requests, "5", "1"))
    assert [len(item) for item in times] == [5, 5]
    assert all(item > 0 for found in times for item in found)


def test_the_program_in_the_pod_tells_of_a_tenant_once_its_fork_answers(ports: dict[str, int]) -> None:
    lines = [
        {"tenant": name, "until": "fork", **Request("127.0.0.1", port=port).to_json()} for name, port in ports.items()
    ]
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), "watch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == "fork"
        process.kill()


def _run(verb: str, requests: list[dict[str, object]], *words: str) -> str:
    command = [sys.executable, str(PROGRAM), verb, *words]
    return subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=True).stdout


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _is_open(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0
