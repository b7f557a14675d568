"""What tests of previews of all kinds speak of."""

from __future__ import annotations

import re
from typing import Any

from builders import Modifier, having, sandbox
from sidestream.config import HeaderMode, HeaderSettings
from sidestream.kube.port import Object
from sidestream.routing.entries import EntryKey, EntryKind

KEY = EntryKey(EntryKind.PREVIEW, "shop", "alice")
HOST = "shop.example.com"
PREVIEW = "alice.preview.example.com"
HEADERS = {mode: HeaderSettings(mode) for mode in HeaderMode}


def previewing(kind: str, name: str, *, namespace: str | None = None, host: str = PREVIEW, **more: Any) -> Modifier:
    """For `sandbox`: it wants a preview at this gateway."""
    gateway = {"kind": kind, "name": name, **({} if namespace is None else {"namespace": namespace})}
    return having("spec.preview", {"gateway": gateway, "host": host, **more})


def wishing(kind: str, name: str, **more: Any) -> Object:
    """Sandbox alice with a preview."""
    return sandbox("alice", previewing(kind, name, **more))


def named_tenants(baggage: str) -> list[str]:
    """The tenants that a baggage header names, in its order."""
    return re.findall(r"(?:^|,)\s*tenant\s*=\s*([^,;\s]*)", baggage)


def expected_headers(mode: HeaderMode, before: dict[str, str], *, keeps_baggage: bool = True) -> dict[str, str]:
    """The headers with which a request of a preview has to leave the gateway, baggage lines joined as proxies do."""
    after = dict(before)
    if mode is not HeaderMode.BAGGAGE:
        after["x-tenant-id"] = "alice"
    if mode is not HeaderMode.EXACT:
        said = before.get("baggage")
        is_kept = keeps_baggage and said is not None and not named_tenants(said)
        after["baggage"] = f"{said},tenant=alice" if is_kept else "tenant=alice"
    return after
