"""Istio in the cluster: its CRDs and those of the Gateway API, istiod by helm, and sidecars that are injected.

World.USER installs a release with its own sidecars. World.OWN installs the chart and the istiod of the Go module, with
a stock Envoy as sidecar and as gateway (manifests/istio/stock-*.yaml). Applications need not know which: a label on
their namespace or pod, or a Gateway of class `istio`, is all.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sidestream_lab import gobuild, images, versions
from sidestream_lab.errors import LabError
from sidestream_lab.paths import MANIFESTS, World
from sidestream_lab.shell import Toolbox, run
from sidestream_lab.steps import Step, digest
from sidestream_lab.waiting import wait_until

FOLDER = MANIFESTS / "istio"
NAMESPACE = "istio-system"
CHARTS = "https://istio-release.storage.googleapis.com/charts"
GATEWAY_API_CRDS = (
    f"https://github.com/kubernetes-sigs/gateway-api/releases/download/{versions.GATEWAY_API}/standard-install.yaml"
)
READY_SECONDS = 300.0
STOCK_TEMPLATES = {"stock": "stock-sidecar.yaml", "kube-gateway": "stock-gateway.yaml"}
"""By the names that istiod knows them by; `kube-gateway` takes the place of what it has for a Gateway itself."""

RECORD = "sidestream-lab"
"""A ConfigMap in NAMESPACE that says which inputs each step has brought into the cluster."""

PROBE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "injection-probe", "namespace": "default", "labels": {"sidecar.istio.io/inject": "true"}},
    "spec": {"containers": [{"name": "app", "image": "sidestream-lab/none"}]},
}


def steps(tools: Toolbox) -> Sequence[Step]:
    """The steps `istio-crds` and `istio`."""
    return [_Definitions(tools), _Mesh(tools)]


def helm_arguments(world: World, chart: Sequence[str | Path]) -> list[str | Path]:
    """What helm is called with to install istiod from a chart, given by the arguments that name it."""
    match world:
        case World.USER:
            own: list[str | Path] = ["--values", FOLDER / "values-istio-proxy.yaml"]
        case World.OWN:
            own = ["--values", FOLDER / "values-stock-envoy.yaml"]
            for template, file in STOCK_TEMPLATES.items():
                own += ["--set-file", f"sidecarInjectorWebhook.templates.{template}={FOLDER / file}"]
    istiod = images.catalogue(world)["istiod"].reference
    return [
        *("upgrade", "--install", "istiod", *chart, "--namespace", NAMESPACE, "--create-namespace"),
        *own,
        *("--set-string", f"image={istiod}", "--set-string", f"global.tag={_sidecar(world).version}"),
    ]


@dataclass(frozen=True)
class _Definitions:
    """The CRDs, apart from istiod, because they can go ahead of its long build."""

    tools: Toolbox
    name: str = "istio-crds"
    why: str = "the resources of Istio and of the Gateway API are defined in the cluster"
    seconds: float = 10

    @property
    def needs(self) -> Sequence[str]:
        return ("cluster", "build-helm")

    @property
    def inputs(self) -> str:
        return digest(*_versions(self.tools.world))

    def is_done(self) -> bool:
        return _record(self.tools).get(self.name) == self.inputs

    def run(self) -> None:
        log = self.tools.layout.log(self.name)
        for source in self._sources(log):
            self.tools.kubectl("apply", "--server-side", "--force-conflicts", *source, log=log)
        self.tools.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", "--all", log=log)
        _set_record(self.tools, self.name, self.inputs)

    def _sources(self, log: Path) -> list[tuple[str | Path, ...]]:
        match self.tools.world:
            case World.USER:
                base = ("upgrade", "--install", "istio-base", "base", "--repo", CHARTS, "--version", versions.ISTIO)
                _install(self.tools, [*base, "--namespace", NAMESPACE, "--create-namespace"], log)
                return [("--filename", GATEWAY_API_CRDS)]
            case World.OWN:
                gateway_api = _module("sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"
                charts = _module("istio.io/istio") / "manifests" / "charts"
                return [("--filename", gateway_api), ("--filename", charts / "base" / "files" / "crd-all.gen.yaml")]


@dataclass(frozen=True)
class _Mesh:
    tools: Toolbox
    name: str = "istio"
    why: str = "istiod starts in the cluster and begins to inject sidecars"
    seconds: float = 15
    needs: Sequence[str] = ("istio-crds", "load-mesh", "build-helm")

    @property
    def inputs(self) -> str:
        world = self.tools.world
        istiod = images.catalogue(world)["istiod"]
        return digest(FOLDER, *_versions(world), istiod.reference, _sidecar(world).reference)

    def is_done(self) -> bool:
        if _record(self.tools).get(self.name) != self.inputs:
            return False
        try:
            return _injects(self.tools)
        except LabError:
            # The API server cannot ask istiod, so there is something to mend.
            return False

    def run(self) -> None:
        log = self.tools.layout.log(self.name)
        _install(self.tools, helm_arguments(self.tools.world, self._chart()), log)
        if self.tools.world is World.OWN:
            plaintext = FOLDER / "plaintext.yaml"
            self.tools.kubectl("apply", "--server-side", "--force-conflicts", "--filename", plaintext, log=log)
        status = ("rollout", "status", "deployment/istiod", f"--timeout={READY_SECONDS:.0f}s")
        self.tools.kubectl("--namespace", NAMESPACE, *status, log=log)
        wait_until(
            lambda: _injects(self.tools),
            seconds=READY_SECONDS,
            what="Istio does not inject sidecars",
            hint=f"Look at: kubectl --namespace {NAMESPACE} logs deployment/istiod",
        )
        _set_record(self.tools, self.name, self.inputs)

    def _chart(self) -> Sequence[str | Path]:
        match self.tools.world:
            case World.USER:
                return ("istiod", "--repo", CHARTS, "--version", versions.ISTIO)
            case World.OWN:
                return (_module("istio.io/istio") / "manifests" / "charts" / "istio-control" / "istio-discovery",)


def _install(tools: Toolbox, arguments: Sequence[str | Path], log: Path) -> None:
    """Call helm, after removing what a killed one has left: it takes its own record for another helm at work."""
    unfinished = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)"
    tools.kubectl("--namespace", NAMESPACE, "delete", "secret", "--selector", unfinished, log=log)
    tools.helm(*arguments, log=log)


def _injects(tools: Toolbox) -> bool:
    """Whether a pod would get the sidecar of these inputs: the API server asks istiod, and makes nothing."""
    answer = tools.kubectl(
        "create", "--dry-run=server", "--output", "json", "--filename", "-", stdin=json.dumps(PROBE), timeout=15
    )
    spec = json.loads(answer)["spec"]
    sidecar = ("istio-proxy", _sidecar(tools.world).reference)
    return sidecar in {(item["name"], item["image"]) for item in [*spec["containers"], *spec.get("initContainers", [])]}


def _sidecar(world: World) -> images.Image:
    match world:
        case World.USER:
            return images.catalogue(world)["proxyv2"]
        case World.OWN:
            return images.catalogue(world)["envoy"]


def _record(tools: Toolbox) -> dict[str, str]:
    shown = ("configmap", RECORD, "--namespace", NAMESPACE, "--ignore-not-found", "--output", "jsonpath={.data}")
    text = tools.kubectl("get", *shown)
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def _set_record(tools: Toolbox, step: str, inputs: str) -> None:
    """The last act of a step; each is a field manager of its own, so that none removes the other's entry."""
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": RECORD, "namespace": NAMESPACE},
            "data": {step: inputs},
        },
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    manager = f"--field-manager=lab-{step}"
    tools.kubectl("apply", "--server-side", "--force-conflicts", manager, "--filename", "-", stdin=text)


def _versions(world: World) -> tuple[str, ...]:
    match world:
        case World.USER:
            return (versions.ISTIO, versions.GATEWAY_API)
        case World.OWN:
            return (versions.ISTIO_MODULE, versions.GATEWAY_API)


@cache
def _module(path: str) -> Path:
    """The unpacked source of a Go module of the build, fetched where the module cache has lost it."""
    fetched = run(["go", "mod", "download", "-json", path], cwd=gobuild.MODULE, env={"GOWORK": "off"})
    return Path(json.loads(fetched)["Dir"])
