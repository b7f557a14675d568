"""Which cluster, which Kafka, which programs: from KUBECONFIG and KAFKA_BOOTSTRAP, which hack/with-cluster sets."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidestream.kube.port import SERVICES
from sidestream_demo.cluster import Cluster
from sidestream_demo.errors import DemoError
from sidestream_demo.process import run
from sidestream_demo.release import REPOSITORY
from sidestream_lab.paths import Layout

IMAGES = ("operator", "shop")
IMAGE_VARIABLES = {"operator": "SIDESTREAM_IMAGE", "shop": "SIDESTREAM_SHOP_IMAGE"}
LAB_KAFKA = "kafka"
"""Namespace and Service of the lab's Kafka."""


@dataclass(frozen=True)
class Environment:
    """A cluster and a Kafka to work with; `is_lab` says whether they are the lab's own and may be roughly handled."""

    kubeconfig: Path
    kafka_bootstrap: str
    is_lab: bool

    @classmethod
    def from_variables(cls, variables: Mapping[str, str] = os.environ) -> "Environment":
        """What KUBECONFIG and KAFKA_BOOTSTRAP name."""
        try:
            kubeconfig, bootstrap = Path(variables["KUBECONFIG"]), variables["KAFKA_BOOTSTRAP"]
        except KeyError as missing:
            raise DemoError(
                f"{missing.args[0]} is not set. `make lab-up` and then `eval $(hack/lab env)` set it; or name a "
                "cluster of your own with KUBECONFIG and its Kafka with KAFKA_BOOTSTRAP."
            ) from missing
        if not kubeconfig.is_file():
            raise DemoError(f"KUBECONFIG names {kubeconfig}, and there is no such file.")
        return cls(kubeconfig, bootstrap, is_lab=kubeconfig == Layout.from_environment(variables).kubeconfig)

    def cluster(self) -> Cluster:
        """The cluster, to be entered."""
        return Cluster(self.kubeconfig, program("kubectl"))

    def kafka_inside(self, cluster: Cluster) -> str:
        """The bootstrap address for pods: KAFKA_BOOTSTRAP_INSIDE, else the lab's Service, else the one from outside."""
        if inside := os.environ.get("KAFKA_BOOTSTRAP_INSIDE"):
            return inside
        if cluster.get(SERVICES, LAB_KAFKA, LAB_KAFKA):
            return f"{LAB_KAFKA}.{LAB_KAFKA}.svc.cluster.local:9092"
        return self.kafka_bootstrap

    def images(self) -> dict[str, str]:
        """The images of operator and shop: those that variables name, else built now and brought into the lab."""
        given = {name: os.environ.get(variable, "") for name, variable in IMAGE_VARIABLES.items()}
        if all(given.values()):
            return given
        if not self.is_lab:
            raise DemoError(
                "Your cluster cannot have images that were only built here. Push them to a registry that it reaches: "
                "`docker build --tag NAME .` and `docker build --file examples/shop/Dockerfile --tag NAME .`, then "
                "name them with SIDESTREAM_IMAGE and SIDESTREAM_SHOP_IMAGE."
            )
        built = run([str(REPOSITORY / "hack" / "lab"), "image", "build", *IMAGES], timeout=1800)
        return dict(zip(IMAGES, built.split(), strict=True))


def program(name: str) -> str:
    """The path of kubectl or helm: the lab's own where it has made one, else the one on PATH."""
    path = os.pathsep.join((str(Layout.from_environment().bin), os.environ.get("PATH", os.defpath)))
    found = shutil.which(name, path=path)
    if found is None:
        raise DemoError(f"The program {name} is missing: install it, or run `make lab-up`, which makes one.")
    return found
