"""The image of the cluster's only node.

World.USER pulls the one that kind's release names. World.OWN makes one: Debian packages, kind's own files, the
Kubernetes programs, and the images of the control plane, so that the node never has to pull anything.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidestream_lab import gobuild, versions
from sidestream_lab.errors import CommandFailed, LabError
from sidestream_lab.paths import IMAGES, World
from sidestream_lab.preflight import Package
from sidestream_lab.shell import Toolbox, run
from sidestream_lab.steps import Step, digest

PACKAGES = (
    Package("mmdebstrap", "mmdebstrap", "makes the node's root from Debian packages"),
    Package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg", "proves them Debian's"),
)
SOURCES = IMAGES / "node"
DEBIAN_PACKAGES = (
    *("systemd", "systemd-sysv", "procps", "util-linux", "mount", "kmod", "bash", "jq"),
    *("containerd", "runc", "containernetworking-plugins", "libseccomp2", "e2fsprogs", "pigz"),
    *("conntrack", "iptables", "nftables", "iproute2", "ethtool", "socat", "curl", "ca-certificates"),
)
PAUSE = "registry.k8s.io/pause:3.10.2"
"""As kubeadm names it; the node's containerd must use the same."""


def name(world: World) -> str:
    """The node image, by its name in the engine."""
    match world:
        case World.OWN:
            inputs = digest(SOURCES, _base(), gobuild.module_digest(), versions.KIND)
            return f"sidestream-lab/node:{versions.KUBERNETES}-{inputs}"
        case World.USER:
            return f"sidestream-lab/node:kind-{versions.KIND}"


def steps(tools: Toolbox) -> Sequence[Step]:
    """The steps up to the node image."""
    match tools.world:
        case World.OWN:
            return [_Base(tools), _Node(tools)]
        case World.USER:
            return [_Pulled(tools)]


def has_image(tools: Toolbox, image: str) -> bool:
    """Whether the engine has an image of this name."""
    try:
        tools.docker("image", "inspect", "--format", "{{.Id}}", image)
    except LabError:
        return False
    return True


def forget_older(tools: Toolbox, image: str) -> None:
    """Remove other versions of an image that nothing uses; each state of the sources makes one."""
    repository = image.rpartition(":")[0]
    for tag in tools.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).split():
        if tag != image:
            # One that a container still runs from stays.
            with suppress(CommandFailed):
                tools.docker("image", "rm", tag)


def _base() -> str:
    return f"sidestream-lab/node-base:{versions.DEBIAN}-{digest(*DEBIAN_PACKAGES)}"


@dataclass(frozen=True)
class _Pulled:
    tools: Toolbox
    name: str = "node-image"
    why: str = "kind's node image is pulled"
    seconds: float = 60
    needs: Sequence[str] = ("engine",)

    def is_done(self) -> bool:
        return has_image(self.tools, name(World.USER))

    def run(self) -> None:
        self.tools.docker("pull", versions.KIND_NODE_IMAGE, log=self.tools.layout.log(self.name))
        self.tools.docker("tag", versions.KIND_NODE_IMAGE, name(World.USER))


@dataclass(frozen=True)
class _Base:
    tools: Toolbox
    name: str = "node-base"
    why: str = "the Debian system of the cluster's node, from Debian's packages"
    seconds: float = 40
    needs: Sequence[str] = ("engine",)

    def is_done(self) -> bool:
        return has_image(self.tools, _base()) or has_image(self.tools, name(World.OWN))

    def run(self) -> None:
        log = self.tools.layout.log(self.name)
        work = _fresh(self.tools.layout.work(self.name))
        root = work / "root.tar"
        packages = ",".join(DEBIAN_PACKAGES)
        run(["mmdebstrap", "--variant=minbase", f"--include={packages}", versions.DEBIAN, root], log=log)
        self.tools.docker("import", root, _base(), log=log)
        shutil.rmtree(work)


@dataclass(frozen=True)
class _Node:
    tools: Toolbox
    name: str = "node-image"
    why: str = "the image of the cluster's node, with Kubernetes and all that it runs"
    seconds: float = 30
    needs: Sequence[str] = ("node-base", "build-kube", "build-kind", "build-coredns", "build-pause")

    def is_done(self) -> bool:
        return has_image(self.tools, name(World.OWN))

    def run(self) -> None:
        work = _fresh(self.tools.layout.work(self.name))
        self._lay_out_context(work)
        node = self._build(work, "node")
        images = work / "images.tar"
        self._save_control_plane(work, images)
        self._import_images(node, images)
        shutil.rmtree(work)

    def _lay_out_context(self, work: Path) -> None:
        shutil.copytree(SOURCES, work, dirs_exist_ok=True)
        _set_modes(work / "rootfs")
        containerd = work / "rootfs" / "etc" / "containerd" / "config.toml"
        containerd.write_text(containerd.read_text().replace("@PAUSE@", PAUSE))
        (work / "bin").mkdir()
        for program in ("kube", "coredns", "pause"):
            shutil.copy2(gobuild.binary(self.tools.layout, program), work / "bin" / program)
        (work / "links").mkdir()
        for program in gobuild.KUBERNETES_PROGRAMS:
            (work / "links" / program).symlink_to("kube")
        kind = gobuild.module_directory("sigs.k8s.io/kind") / "images" / "base" / "files"
        shutil.copytree(kind, work / "kind-files", copy_function=shutil.copyfile)
        _set_modes(work / "kind-files")

    def _build(self, work: Path, target: str) -> str:
        image = f"sidestream-lab/node-part:{target}"
        self.tools.docker(
            *("build", "--target", target, "--tag", image),
            *("--build-arg", f"BASE={_base()}", "--build-arg", f"KUBERNETES={versions.KUBERNETES}"),
            work,
            log=self.tools.layout.log(self.name),
        )
        return image

    def _save_control_plane(self, work: Path, archive: Path) -> None:
        """Write an archive of the images that kubeadm asks for, under the names that it asks for."""
        docker = self.tools.docker
        kubeadm = self.tools.layout.bin / "kubeadm"
        tags = run([kubeadm, "config", "images", "list", "--kubernetes-version", versions.KUBERNETES]).split()
        parts = {part: self._build(work, part) for part in ("control-plane", "coredns", "pause")}
        if PAUSE not in tags:
            raise LabError(f"kubeadm {versions.KUBERNETES} uses {tags}, not {PAUSE}", f"Correct PAUSE in {__file__}.")
        for tag in tags:
            docker("tag", parts[part_for(tag)], tag)
        docker("save", "--output", archive, *tags, log=self.tools.layout.log(self.name))
        docker("image", "rm", *tags)

    def _import_images(self, node: str, archive: Path) -> None:
        docker, container = self.tools.docker, "sidestream-lab-node-build"
        docker("rm", "--force", "--volumes", container)
        docker(
            *("run", "--detach", "--name", container, "--privileged", "--network", "none"),
            *("--volume", f"{archive}:/images.tar:ro", "--entrypoint", "sleep", node, "infinity"),
        )
        docker("exec", container, "sh", "-euc", IMPORT, log=self.tools.layout.log(self.name))
        docker("stop", "--time", "0", container)
        entrypoint = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
        docker("commit", "--change", entrypoint, "--change", "CMD []", container, name(World.OWN))
        docker("rm", "--volumes", container)
        forget_older(self.tools, name(World.OWN))


IMPORT = """
containerd >/dev/null 2>&1 &
for attempt in $(seq 100); do
    if ctr version >/dev/null 2>&1; then break; fi
    sleep 0.1
done
ctr --namespace k8s.io images import --no-unpack /images.tar
kill %1 2>/dev/null || kill $!
wait
"""
"""Puts the control plane's images into the node's containerd, which must be up for it."""


def part_for(tag: str) -> str:
    """Which stage of the Dockerfile serves the image that kubeadm calls `tag`."""
    image, _, _ = tag.rsplit("/", 1)[-1].partition(":")
    return image if image in {"coredns", "pause"} else "control-plane"


def _fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _set_modes(root: Path) -> None:
    """Scripts may be run by everyone, other files read: a checkout or module cache says something else."""
    for path in root.rglob("*"):
        script = path.is_file() and path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if path.is_dir() or script else 0o644)
