"""The release: the chart, installed with helm as a user would."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidestream.kube.port import PODS, Object, Resource
from sidestream_demo.cluster import Cluster, is_condition
from sidestream_demo.errors import DemoError
from sidestream_demo.process import run

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "sidestream"
RELEASE = "sidestream"
NAMESPACE = "sidestream-system"
ROLLOUT = "5m"
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
LAST_WORDS = 10


def adoptable(obj: Object) -> Object:
    """The object marked as helm marks what it installs, so that a release adopts it instead of refusing to install.

    For definitions that somebody needs without a release, and that may be left behind when that somebody is killed.
    """
    metadata = obj["metadata"]
    labels = {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "Helm"}
    marks = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
    annotations = {**metadata.get("annotations", {}), **marks}
    return {**obj, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


@dataclass(frozen=True)
class Release:
    """The chart in a cluster; `image` is the operator's, such as `sidestream/operator:0.1.0`."""

    cluster: Cluster
    helm: str
    image: str

    def install(self, values: Mapping[str, str] | None = None) -> None:
        """Install or upgrade it and wait until all its pods are ready. `values` are those of --set."""
        try:
            self._helm(*self.install_arguments(values))
        except DemoError as error:
            raise DemoError(f"{error}\n{self._what_is_wrong()}") from error

    def install_arguments(self, values: Mapping[str, str] | None = None) -> Sequence[str]:
        """What helm is told, as one could type it."""
        repository, _, tag = self.image.rpartition(":")
        settings = {"image.repository": repository, "image.tag": tag, **(values or {})}
        given = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
        return (
            *("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace"),
            *("--wait", "--timeout", ROLLOUT, *given),
        )

    def is_installed(self) -> bool:
        """Whether there is such a release, whatever its version."""
        listing = self._helm("list", "--namespace", NAMESPACE, "--all", "--short", "--filter", f"^{RELEASE}$")
        return RELEASE in listing.split()

    def uninstall(self) -> None:
        """Remove it; the custom resource definitions stay."""
        self._helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")

    def _what_is_wrong(self) -> str:
        """The state of the pods, and the last words of those that are not ready."""
        told = [self.cluster.kubectl("--namespace", NAMESPACE, "get", "pods")]
        for pod in self.cluster.objects(PODS, NAMESPACE):
            if not is_condition("Ready")(pod):
                name = pod["metadata"]["name"]
                with suppress(DemoError):
                    logs = self.cluster.kubectl("--namespace", NAMESPACE, "logs", name, f"--tail={LAST_WORDS}")
                    told.append(f"Last words of {name}:\n{logs}")
        return "\n".join(told)

    def _helm(self, *arguments: str) -> str:
        return run([self.helm, "--kubeconfig", str(self.cluster.kubeconfig), *arguments])
