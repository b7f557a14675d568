"""The certificate that the mapping service shows, from a mounted Secret; a renewed one is taken without a restart."""

from __future__ import annotations

import ssl
from asyncio.sslproto import SSLProtocol
from pathlib import Path
from typing import Final

import structlog

from sidestream.runtime.clock import Clock

LOOK_SECONDS: Final = 10.0
"""How often the files are compared: a kubelet takes up to a minute to bring a changed Secret."""

BUFFER_BYTES: Final = 16 * 1024
"""What asyncio holds to read each TLS connection: one record. Its own 256 KiB would be nine waiters without TLS."""

_log = structlog.get_logger(__name__)


class ServerCertificate:
    """`tls.crt` and `tls.key` of a folder, and the TLS context that shows them.

    A process that has one reads all its TLS connections by small buffers.

    Raises:
        OSError, ssl.SSLError: a file is missing, or they are no certificate and its key.
    """

    def __init__(self, folder: Path) -> None:
        SSLProtocol.max_size = BUFFER_BYTES
        self._certificate, self._key = folder / "tls.crt", folder / "tls.key"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._shown = self._load()

    async def keep_fresh(self, clock: Clock) -> None:
        """Show what the files say, for ever; connections that are open keep what they began with."""
        fault = ""
        while True:
            await clock.sleep(LOOK_SECONDS)
            try:
                if self._read() == self._shown:
                    continue
                self._shown = self._load()
            except OSError as error:
                if str(error) != fault:
                    _log.warning("cannot take the changed certificate, showing the last one", error=str(error))
                fault = str(error)
            else:
                fault = ""
                _log.info("showing a renewed certificate")

    def _load(self) -> tuple[bytes, bytes]:
        content = self._read()
        # a context would keep the certificate of a pair that does not fit, so another one tries them first
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
        self.context.load_cert_chain(self._certificate, self._key)
        return content

    def _read(self) -> tuple[bytes, bytes]:
        return self._certificate.read_bytes(), self._key.read_bytes()
