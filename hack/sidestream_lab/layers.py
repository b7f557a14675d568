"""Images without the layers that a node already has: what a changed line of code weighs, not the system below it.

`docker save` always writes an image whole. Its layers are found in a node's containerd by the same digests, because
both keep them uncompressed.
"""

import io
import json
import tarfile
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NAME = "io.containerd.image.name"
"""The annotation by which containerd names what it imports."""

Descriptor = dict[str, Any]


def without(archive: Path, present: Collection[str], output: IO[bytes]) -> None:
    """Write the images of an archive by `docker save` in OCI's layout, without layers whose digest is in `present`."""
    written = set(present)
    with tarfile.open(archive) as saved, tarfile.open(fileobj=output, mode="w") as layout:
        index = [
            _image(saved, entry, layout, written) | {"annotations": {NAME: f"docker.io/{tag}"}}
            for entry in json.loads(_read(saved, "manifest.json"))
            for tag in entry["RepoTags"]
        ]
        _add(layout, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(layout, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())


def _image(saved: tarfile.TarFile, entry: dict[str, Any], layout: tarfile.TarFile, written: set[str]) -> Descriptor:
    configuration = _read(saved, entry["Config"])
    digests = json.loads(configuration)["rootfs"]["diff_ids"]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _add_blob(layout, CONFIGURATION, configuration, written),
        "layers": [
            _add_layer(saved, path, layout, digest, written)
            for path, digest in zip(entry["Layers"], digests, strict=True)
        ],
    }
    return _add_blob(layout, MANIFEST, json.dumps(manifest).encode(), written)


def _add_layer(
    saved: tarfile.TarFile, path: str, layout: tarfile.TarFile, digest: str, written: set[str]
) -> Descriptor:
    with _open(saved, path) as layer:
        # Asked of the stream, because the same layer twice is a link in the archive.
        size = layer.seek(0, io.SEEK_END)
        if digest not in written:
            layer.seek(0)
            _add(layout, _blob(digest), layer, size)
            written.add(digest)
    return {"mediaType": LAYER, "digest": digest, "size": size}


def _add_blob(layout: tarfile.TarFile, kind: str, content: bytes, written: set[str]) -> Descriptor:
    digest = f"sha256:{sha256(content).hexdigest()}"
    if digest not in written:
        _add(layout, _blob(digest), content)
        written.add(digest)
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _add(layout: tarfile.TarFile, path: str, content: bytes | IO[bytes], size: int = 0) -> None:
    member = tarfile.TarInfo(path)
    if isinstance(content, bytes):
        member.size = len(content)
        layout.addfile(member, io.BytesIO(content))
    else:
        member.size = size
        layout.addfile(member, content)


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _read(saved: tarfile.TarFile, path: str) -> bytes:
    with _open(saved, path) as member:
        return member.read()


def _open(saved: tarfile.TarFile, path: str) -> IO[bytes]:
    member = saved.extractfile(path)
    if member is None:
        raise KeyError(path)
    return member
