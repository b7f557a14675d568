"""All providers, in the order in which one is chosen for a Service that nobody routes."""

from __future__ import annotations

from sidestream.config import HeaderSettings
from sidestream.routing.headers import check_settings
from sidestream.routing.providers.httproute import HTTPRouteProvider
from sidestream.routing.providers.httproute_preview import HTTPRoutePreviews
from sidestream.routing.providers.ingressroute import IngressRouteProvider
from sidestream.routing.providers.ingressroute_preview import IngressRoutePreviews
from sidestream.routing.providers.provider import Provider
from sidestream.routing.providers.virtualservice import VirtualServiceProvider
from sidestream.routing.providers.virtualservice_preview import VirtualServicePreviews


def all_providers(header: HeaderSettings) -> tuple[Provider, ...]:
    """One of each kind, then those that carry previews, for tenants named as `header` says.

    Raises:
        ValueError: the header's names are none that HTTP allows; the text is a sentence for users.
    """
    check_settings(header)
    return (
        VirtualServiceProvider(header),
        HTTPRouteProvider(header),
        IngressRouteProvider(header),
        VirtualServicePreviews(header),
        HTTPRoutePreviews(header),
        IngressRoutePreviews(header),
    )
