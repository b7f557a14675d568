"""What the API server knows of others than ourselves: whose a token is, and what its holder may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from sidestream.kube.port import Object, Resource

TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
SUBJECT_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


@dataclass(frozen=True)
class Caller:
    """Whose a token is, as the API server says."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """The namespace of a ServiceAccount, empty for anybody else."""
        if not self.name.startswith(_SERVICE_ACCOUNT):
            return ""
        return self.name.removeprefix(_SERVICE_ACCOUNT).partition(":")[0]


@dataclass(frozen=True)
class Access:
    """Something that one may be allowed to do; an empty namespace or name means all."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""


class ReviewApi(Protocol):
    """What reviews need of the API server."""

    async def create(self, resource: Resource, obj: Object) -> Object:
        """See `KubeApi`; a review comes back with its status and is stored nowhere."""
        ...


class Reviews:
    """Asks the API server each time."""

    def __init__(self, api: ReviewApi, *, audience: str) -> None:
        self._api = api
        self._audience = audience

    async def caller_of(self, token: str) -> Caller | None:
        """Whose token it is; None when it is nobody's, has expired, or is for another audience.

        Raises:
            SidestreamError: the API server cannot be asked.
        """
        status = await self._review(TOKEN_REVIEWS, {"token": token, "audiences": [self._audience]})
        # an authenticator that knows no audiences leaves them out, and so answers for the API server's own only
        if not status.get("authenticated") or self._audience not in (status.get("audiences") or ()):
            return None
        user = status.get("user") or {}
        return Caller(user.get("username", ""), user.get("uid", ""), tuple(user.get("groups") or ()))

    async def may(self, caller: Caller, access: Access) -> bool:
        """Whether the caller may do that.

        Raises:
            SidestreamError: the API server cannot be asked.
        """
        attributes = {
            "verb": access.verb,
            "group": access.resource.group,
            "version": access.resource.version,
            "resource": access.resource.plural,
            "namespace": access.namespace,
            "name": access.name,
        }
        spec = {
            "user": caller.name,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "resourceAttributes": attributes,
        }
        status = await self._review(SUBJECT_ACCESS_REVIEWS, spec)
        return bool(status.get("allowed"))

    async def _review(self, resource: Resource, spec: Object) -> Object:
        asked = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, "spec": spec}
        answer = await self._api.create(resource, asked)
        status: Object = answer.get("status") or {}
        return status
