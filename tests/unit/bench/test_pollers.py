"""The consumers of the mapping benchmark tell when all of them have a change."""

import subprocess
import sys
from pathlib import Path

from bench.process import cpu_seconds, resident_bytes
from bench.replica import pollers
from fakes.mapping_server import change_json, mapping_json, mapping_server

ROOT = Path(__file__).parents[3]


def test_each_change_is_told_once_with_the_moment_of_every_consumer() -> None:
    with mapping_server() as server:
        server.publish(mapping_json(change_json(phase="Preparing")))
        with pollers(f"{server.url}/v1/consumers/shop/fulfilment", 3) as consumers:
            first = consumers.moments(timeout=30)
            server.wait_for_waiting(3)
            server.publish(mapping_json(change_json(phase="Active")))
            second = consumers.moments(timeout=30)

    assert len(first) == len(second) == 3
    assert max(first) < min(second)


def test_a_fleet_of_objects_is_held_and_every_answer_made() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.fleet", "3", "2", "5"], capture_output=True, check=True, cwd=ROOT
    )

    assert b'"answers": 3' in done.stdout


def test_a_process_has_a_size_and_uses_time() -> None:
    assert resident_bytes() > 0
    assert cpu_seconds(1) >= 0
