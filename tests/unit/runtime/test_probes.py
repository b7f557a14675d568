from __future__ import annotations

import httpx
import pytest

from sidestream.runtime.metrics import QUEUE_DEPTH
from sidestream.runtime.probes import serve_probes


async def fetch(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        return await client.get(path)


async def test_a_healthy_process_says_ok() -> None:
    async with serve_probes(0, live={}, ready={"api": lambda: None}, host="127.0.0.1") as port:
        for path in ("/healthz", "/readyz"):
            answer = await fetch(port, path)
            assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_faults_are_named_and_probes_are_apart() -> None:
    ready = {"api": lambda: "no answer for 90 seconds", "mesh": lambda: None}
    async with serve_probes(0, live={}, ready=ready, host="127.0.0.1") as port:
        assert (await fetch(port, "/healthz")).status_code == 200
        answer = await fetch(port, "/readyz")
        assert (answer.status_code, answer.text) == (503, "api: no answer for 90 seconds\n")


async def test_metrics_are_served() -> None:
    QUEUE_DEPTH.labels("served").set(7)
    async with serve_probes(0, live={}, ready={}, host="127.0.0.1") as port:
        answer = await fetch(port, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'sidestream_queue_depth{queue="served"} 7.0' in answer.text


async def test_a_taken_port_is_an_error_and_a_left_one_is_free_again() -> None:
    async with serve_probes(0, live={}, ready={}, host="127.0.0.1") as port:
        with pytest.raises(OSError, match="address already in use"):
            async with serve_probes(port, live={}, ready={}, host="127.0.0.1"):
                pass
    async with serve_probes(port, live={}, ready={}, host="127.0.0.1") as again:
        assert again == port
