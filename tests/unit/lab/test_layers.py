import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestream_lab import layers

CONTENTS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4, unique=True)


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def saved(path: Path, images: dict[str, list[bytes]]) -> Path:
    """An archive as `docker save` writes it: a layer that was written already is a link."""
    entries: list[dict[str, Any]] = []
    first: dict[bytes, str] = {}
    with tarfile.open(path, "w") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for number, (tag, contents) in enumerate(images.items()):
            config = json.dumps({"rootfs": {"diff_ids": [digest(layer) for layer in contents]}, "tag": tag}).encode()
            names = [f"{number}-{position}/layer.tar" for position in range(len(contents))]
            for name, layer in zip(names, contents, strict=True):
                if layer in first:
                    link = tarfile.TarInfo(name)
                    link.type, link.linkname = tarfile.SYMTYPE, f"../{first[layer]}"
                    archive.addfile(link)
                else:
                    add(name, layer)
                    first[layer] = name
            add(f"{number}.json", config)
            entries.append({"Config": f"{number}.json", "RepoTags": [tag], "Layers": names})
        add("manifest.json", json.dumps(entries).encode())
    return path


def contents_of(archive: io.BytesIO) -> dict[str, bytes]:
    archive.seek(0)
    with tarfile.open(fileobj=archive) as layout:
        assert len(set(layout.getnames())) == len(layout.getnames())
        files = {member.name: layout.extractfile(member) for member in layout}
        return {name: file.read() for name, file in files.items() if file is not None}


def stripped(folder: Path, images: dict[str, list[bytes]], present: set[str]) -> dict[str, bytes]:
    output = io.BytesIO()
    layers.without(saved(folder / "saved.tar", images), present, output)
    return contents_of(output)


def blob(found: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    return found[f"blobs/{descriptor['digest'].replace(':', '/')}"]


@given(contents=CONTENTS, known=st.sets(st.integers(0, 3)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_just_the_layers_that_the_node_lacks_are_there(tmp_path: Path, contents: list[bytes], known: set[int]) -> None:
    present = {digest(layer) for position, layer in enumerate(contents) if position in known}
    found = stripped(tmp_path, {"sidestream/a:1": contents}, present)
    (entry,) = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(blob(found, entry))
    for descriptor, layer in zip(manifest["layers"], contents, strict=True):
        assert (descriptor["digest"], descriptor["size"]) == (digest(layer), len(layer))
        if descriptor["digest"] in present:
            assert f"blobs/{descriptor['digest'].replace(':', '/')}" not in found
        else:
            assert blob(found, descriptor) == layer


@pytest.mark.parametrize("present", [set(), {digest(b"base")}], ids=["new base", "known base"])
def test_every_blob_is_what_its_name_says(tmp_path: Path, present: set[str]) -> None:
    found = stripped(tmp_path, {"sidestream/a:1": [b"base", b"code"]}, present)
    blobs = {name: content for name, content in found.items() if name.startswith("blobs/")}
    assert {name: f"blobs/{digest(content).replace(':', '/')}" for name, content in blobs.items()} == {
        name: name for name in blobs
    }


def test_the_images_keep_their_names_and_configurations(tmp_path: Path) -> None:
    images = {"sidestream/a:1": [b"base", b"a"], "sidestream/b:1": [b"base", b"b"]}
    found = stripped(tmp_path, images, set())
    for entry, tag in zip(json.loads(found["index.json"])["manifests"], images, strict=True):
        assert entry["annotations"] == {layers.NAME: f"docker.io/{tag}"}
        assert json.loads(blob(found, json.loads(blob(found, entry))["config"]))["tag"] == tag


def test_a_layer_that_images_share_is_there_once(tmp_path: Path) -> None:
    images = {"sidestream/a:1": [b"base", b"a"], "sidestream/b:1": [b"base", b"b"]}
    found = stripped(tmp_path, images, set())
    assert list(found.values()).count(b"base") == 1
