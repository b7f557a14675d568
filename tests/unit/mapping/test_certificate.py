"""The service over TLS, asked by the SDK as an application does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from authority import Authority, Certificate
from builders import FakeClock
from sidestream.config import HeaderSettings
from sidestream.mapping.answers import Header
from sidestream.mapping.certificate import LOOK_SECONDS, ServerCertificate
from sidestream.mapping.directory import Directory
from sidestream.mapping.service import Server, create_app, server_config
from sidestream.mapping.waiting import WaitingRoom
from sidestream_sdk.fetch import HttpFetch

PATIENCE = 20.0
COUNT = 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("stranger"))


def mount(folder: Path, shown: Certificate, key: Path | None = None) -> None:
    (folder / "tls.crt").write_bytes(shown.certificate.read_bytes())
    (folder / "tls.key").write_bytes((key or shown.key).read_bytes())


class Scene:
    """The service at `url`, and the clock by which it looks at its files."""

    def __init__(self, url: str, clock: FakeClock) -> None:
        self._url = url
        self._clock = clock

    async def ask(self, ca_file: Path | None) -> int:
        return await self.ask_by(HttpFetch(ca_file=None if ca_file is None else str(ca_file)))

    async def ask_by(self, fetch: HttpFetch) -> int:
        return (await asyncio.to_thread(fetch.get, f"{self._url}/healthz", etag="", timeout=PATIENCE)).status

    def open_connection(self, ca_file: Path) -> ssl.SSLSocket:
        url = urlsplit(self._url)
        opened = socket.create_connection((url.hostname, url.port), timeout=PATIENCE)
        return ssl.create_default_context(cafile=str(ca_file)).wrap_socket(opened, server_hostname=url.hostname)

    async def look(self) -> None:
        await self._clock.advance(LOOK_SECONDS)


class Nothing:
    """A source that knows of nobody."""

    version = 1

    def __init__(self) -> None:
        self.directory = Directory(Header.of(HeaderSettings()))

    def why_not_ready(self) -> str | None:
        return None


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Scene]:
    clock, certificate = FakeClock(), ServerCertificate(folder)
    room = WaitingRoom(clock, lambda _: None)
    server = Server(server_config(create_app(Nothing(), room), 0, certificate), room)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tasks = [asyncio.create_task(certificate.keep_fresh(clock)), asyncio.create_task(server.serve([listener]))]
        try:
            yield Scene(f"https://127.0.0.1:{listener.getsockname()[1]}", clock)
        finally:
            server.should_exit = True
            await tasks[1]
            tasks[0].cancel()
            await asyncio.wait(tasks)


async def test_it_answers_whoever_trusts_its_authority(tmp_path: Path, authority: Authority) -> None:
    mount(tmp_path, authority.issue("mapping"))
    async with serving(tmp_path) as it:
        assert await it.ask(authority.file) == 200


async def test_nobody_believes_it_without_its_authority(
    tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    mount(tmp_path, authority.issue("mapping"))
    async with serving(tmp_path) as it:
        for ca_file in (None, stranger.file):
            with pytest.raises(ssl.SSLCertVerificationError):
                await it.ask(ca_file)


async def test_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    mount(tmp_path, authority.issue("mapping"))
    async with serving(tmp_path) as it:
        assert await it.ask(authority.file) == 200
        mount(tmp_path, stranger.issue("mapping"))
        await it.look()
        assert await it.ask(stranger.file) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await it.ask(authority.file)


@pytest.mark.parametrize("fault", ["a key that does not fit", "no text of a certificate", "no file"])
async def test_the_last_good_certificate_is_shown_while_the_new_one_is_none(
    tmp_path: Path, authority: Authority, stranger: Authority, fault: str
) -> None:
    mount(tmp_path, authority.issue("mapping"))
    async with serving(tmp_path) as it:
        match fault:
            case "a key that does not fit":
                mount(tmp_path, stranger.issue("mapping"), key=authority.issue("other").key)
            case "no text of a certificate":
                (tmp_path / "tls.crt").write_text("not yet")
            case _:
                (tmp_path / "tls.crt").unlink()
        await it.look()
        assert await it.ask(authority.file) == 200
        mount(tmp_path, stranger.issue("mapping"))
        await it.look()
        assert await it.ask(stranger.file) == 200


async def test_an_authority_that_is_renewed_is_believed_by_the_next_request(
    tmp_path: Path, authority: Authority, stranger: Authority
) -> None:
    mount(tmp_path, authority.issue("mapping"))
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(stranger.file.read_bytes())
    async with serving(tmp_path) as it:
        fetch = HttpFetch(ca_file=str(ca_file))
        with pytest.raises(ssl.SSLCertVerificationError):
            await it.ask_by(fetch)
        ca_file.write_bytes(authority.file.read_bytes())
        assert await it.ask_by(fetch) == 200


async def test_a_connection_takes_far_less_memory_than_asyncio_would_give_it(
    tmp_path: Path, authority: Authority
) -> None:
    mount(tmp_path, authority.issue("mapping"))
    async with serving(tmp_path) as it:
        with ExitStack() as stack:
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
            for _ in range(COUNT):
                stack.enter_context(await asyncio.to_thread(it.open_connection, authority.file))
            taken, _ = tracemalloc.get_traced_memory()
        assert taken / COUNT < 100 * 1024


def test_a_service_without_a_good_certificate_does_not_start(tmp_path: Path, authority: Authority) -> None:
    mount(tmp_path, authority.issue("mapping"), key=authority.issue("other").key)
    with pytest.raises(ssl.SSLError):
        ServerCertificate(tmp_path)
