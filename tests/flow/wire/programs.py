"""The programs of this folder as pods get them: in a ConfigMap, beside the libraries that the image does not have."""

from __future__ import annotations

import base64
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

from sidestream.kube.port import Object, Resource

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NAME = "wire"
FOLDER = "/wire"
"""Where pods find them."""

_PROGRAMS = ("echo.py", "client.py")
_LIBRARIES = ("h2", "hpack", "hyperframe")
_ARCHIVE = "libraries.zip"


def config_map(namespace: str) -> Object:
    """The ConfigMap, about 100 KB."""
    here = Path(__file__).parent
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"name": NAME, "namespace": namespace},
        "data": {name: (here / name).read_text() for name in _PROGRAMS},
        "binaryData": {_ARCHIVE: base64.b64encode(_libraries()).decode()},
    }


def container(image: str, *command: str) -> Object:
    """A container `app` of an image with Python and aiohttp that can run them."""
    return {
        "name": "app",
        "image": image,
        "command": list(command),
        "env": [{"name": "PYTHONPATH", "value": f"{FOLDER}/{_ARCHIVE}"}],
        "volumeMounts": [{"name": NAME, "mountPath": FOLDER, "readOnly": True}],
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}},
    }


def volume() -> Object:
    """What `container` mounts."""
    return {"name": NAME, "configMap": {"name": NAME}}


def _libraries() -> bytes:
    """Python's own import reads them from the archive, for they are Python throughout."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for library in _LIBRARIES:
            spec = find_spec(library)
            assert spec is not None
            assert spec.submodule_search_locations is not None
            folder = Path(spec.submodule_search_locations[0])
            for source in sorted(folder.rglob("*.py")):
                file.write(source, Path(library) / source.relative_to(folder))
    return archive.getvalue()
