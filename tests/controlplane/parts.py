"""What a control plane is made of: each part a few programs of one Go module, at one version."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "modules"
"""One folder for each Go module, with a ``go.mod`` and a ``go.sum`` that pin everything that is compiled."""


@dataclass(frozen=True, slots=True)
class Part:
    """Programs that are built, cached and replaced together.

    Attributes
    ----------
    module
        Folder below :data:`MODULES`.
    required
        Module whose version is the version of the part.
    programs
        Name of each program -> its Go package.
    variables
        Go variables set by the linker; ``{version}`` stands for the version of the part.
    files
        Folder of ``required`` that the programs need at run time, kept beside them.
    """

    name: str
    module: str
    required: str
    programs: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...] = ()
    files: str = ""

    @property
    def folder(self) -> Path:
        return MODULES / self.module

    @property
    def version(self) -> str:
        """Version as ``go.mod`` requires it, for instance ``v1.36.3``."""
        for line in (self.folder / "go.mod").read_text(encoding="utf-8").splitlines():
            words = line.removeprefix("require").split()
            if words[:1] == [self.required]:
                return words[1]
        message = f"{self.folder / 'go.mod'} does not require {self.required}"
        raise LookupError(message)

    @property
    def key(self) -> str:
        """Name of the part in the cache: another version, dependency or linker flag makes another name."""
        digest = hashlib.sha256(repr((self.programs, self.linker_flags, self.files)).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((self.folder / name).read_bytes())
        machine = f"{platform.system()}-{platform.machine()}".lower()
        return f"{self.name}-{self.version}-{machine}-{digest.hexdigest()[:12]}"

    @property
    def linker_flags(self) -> str:
        """Smaller programs (no symbols) that know their version, which is v0.0.0 otherwise."""
        stamps = [f"-X {variable}={value.format(version=self.version)}" for variable, value in self.variables]
        return " ".join(["-s", "-w", *stamps])


_KUBERNETES_VERSION = (("k8s.io/component-base/version.gitVersion", "{version}"),)

KUBERNETES = Part(
    name="kubernetes",
    module="kubernetes",
    required="k8s.io/kubernetes",
    programs=(
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ),
    variables=_KUBERNETES_VERSION,
)
KUBECTL = Part(
    name="kubectl",
    module="kubernetes",
    required="k8s.io/kubernetes",
    programs=(("kubectl", "k8s.io/kubernetes/cmd/kubectl"),),
    variables=(*_KUBERNETES_VERSION, ("k8s.io/client-go/pkg/version.gitVersion", "{version}")),
)
KWOK = Part(
    name="kwok",
    module="kwok",
    required="sigs.k8s.io/kwok",
    programs=(("kwok", "sigs.k8s.io/kwok/cmd/kwok"),),
    variables=(("sigs.k8s.io/kwok/pkg/consts.Version", "{version}"),),
    files="kustomize/stage",
)
HELM = Part(
    name="helm",
    module="helm",
    required="helm.sh/helm/v3",
    programs=(("helm", "helm.sh/helm/v3/cmd/helm"),),
    variables=(("helm.sh/helm/v3/internal/version.version", "{version}"),),
)
KIND = Part(
    name="kind",
    module="kind",
    required="sigs.k8s.io/kind",
    programs=(("kind", "sigs.k8s.io/kind"),),
)
