"""A certificate authority for tests, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files of PEM text."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Issues certificates for 127.0.0.1 that clients who trust `file` believe."""

    file: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """A new one; its files and those of its certificates are in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder / "ca.pem", folder / "ca.key")
        _openssl("req", "-x509", *_new_key(made.key), "-subj", "/CN=Test authority", "-days", "2", "-out", made.file)
        return made

    def issue(self, name: str) -> Certificate:
        """A certificate with this common name; another one each time."""
        folder = self.file.parent
        made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
        request, names = folder / f"{name}.csr", folder / f"{name}.ext"
        names.write_text("subjectAltName = IP:127.0.0.1\n")
        _openssl("req", *_new_key(made.key), "-subj", f"/CN={name}", "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-CAcreateserial"),
            *("-days", "2", "-extfile", names, "-out", made.certificate),
        )
        return made


def _new_key(file: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "rsa:2048", "-nodes", "-keyout", file)


def _openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl for its certificates")
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60)
