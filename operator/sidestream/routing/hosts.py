"""Names of Services as hosts: which spelling means which Service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_DOMAIN: Final = "cluster.local"


@dataclass(frozen=True, order=True)
class ServiceHost:
    """A Service as clients in the cluster name it; `domain` is the cluster's DNS domain."""

    namespace: str
    name: str
    domain: str = DEFAULT_DOMAIN

    @property
    def fqdn(self) -> str:
        """The full name, which means the same everywhere."""
        return f"{self.name}.{self.namespace}.svc.{self.domain}"

    def is_named_by(self, host: str, namespace: str) -> bool:
        """Whether `host`, in an object of Istio in `namespace`, means this Service (wildcards: see `is_covered_by`).

        Only the short name, in the Service's own namespace, and the full one do; see `is_half_named_by`.
        """
        spelled = host.lower()
        return spelled == self.fqdn or (spelled == self.name and namespace == self.namespace)

    def is_half_named_by(self, host: str) -> bool:
        """Whether `host` is `name.namespace` or `name.namespace.svc`.

        Clients reach the Service by them, but to Istio a name with a dot is a full one, of some other host.
        """
        return host.lower() in (f"{self.name}.{self.namespace}", f"{self.name}.{self.namespace}.svc")

    def is_covered_by(self, host: str) -> bool:
        """Whether `host` is a wildcard that this Service falls under, such as `*.shop.svc.cluster.local`."""
        return host.startswith("*") and self.fqdn.endswith(host.removeprefix("*").lower())


def qualified(host: str, namespace: str, domain: str) -> str:
    """`host` spelled so that it means the same in objects of other namespaces; only short names depend on theirs."""
    is_short = host not in ("", "*") and "." not in host and ":" not in host
    return f"{host}.{namespace}.svc.{domain}" if is_short else host
