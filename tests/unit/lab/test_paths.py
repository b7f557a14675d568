from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestream_lab.paths import Layout

LONGEST_SOCKET_PATH = 107
LONGEST_INTERFACE_NAME = 15
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=60)


def layout_of(**environment: str) -> Layout:
    return Layout.from_environment({"HOME": "/home/ada", **environment})


def test_without_xdg_variables_everything_lies_below_home() -> None:
    layout = layout_of()
    assert layout.cache == Path("/home/ada/.cache/sidestream-lab")
    assert layout.state == Path("/home/ada/.local/state/sidestream-lab")


def test_xdg_variables_move_cache_and_state() -> None:
    layout = layout_of(XDG_CACHE_HOME="/big", XDG_STATE_HOME="/small")
    assert (layout.cache, layout.state) == (Path("/big/sidestream-lab"), Path("/small/sidestream-lab"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"SIDESTREAM_LAB_NAME": "second"}, id="another name"),
        pytest.param({"XDG_STATE_HOME": "/elsewhere"}, id="another state folder"),
    ],
)
def test_two_labs_share_neither_socket_nor_bridge_nor_control_group(other: dict[str, str]) -> None:
    one, two = layout_of(), layout_of(**other)
    for part in ("docker_socket", "docker_exec_root", "bridge", "cgroup"):
        assert getattr(one, part) != getattr(two, part)


@given(NAMES, NAMES)
def test_kernel_limits_on_names_hold_for_any_home(name: str, home: str) -> None:
    layout = layout_of(HOME=f"/{home * 5}", SIDESTREAM_LAB_NAME=name)
    assert len(str(layout.docker_socket)) <= LONGEST_SOCKET_PATH
    assert len(str(layout.docker_exec_root / "containerd" / "containerd-debug.sock.ttrpc")) <= LONGEST_SOCKET_PATH
    assert len(layout.bridge) <= LONGEST_INTERFACE_NAME


def test_each_broker_has_a_port_of_its_own_on_both_sides() -> None:
    layout = layout_of(SIDESTREAM_LAB_KAFKA_PORT="20000")
    assert [layout.kafka_host_port(broker) for broker in range(3)] == [20000, 20001, 20002]
    assert [layout.kafka_node_port(broker) for broker in range(3)] == [30092, 30093, 30094]
    assert layout.kafka_bootstrap == "127.0.0.1:20000"
