"""The dialect of `IngressRoute.spec.routes`: one rule for one tenant, for nobody, and for when a fork cannot answer.

All rules of ours stand above all that users write, in bands of priorities that fit into 32 bits:

    for previews    1.86e9 to 2.14e9  twice the rule's own priority around 2e9, and one more
    for nobody      1.4e9 to 1.8e9    twice the rule's own priority around 1.6e9
    the probes      1.3e9             2.147e9 at hosts of previews
    for tenants     0.8e9 to 1.2e9    twice the rule's own priority around 1e9, and one more
    for want of it  one below the tenant's

Within a band the users' order stays. A router whose Service has no ready pod is not there for Traefik
(`allowEmptyServices` is off by default), so a tenant's requests would fall to the baseline, silently. The rule below
the tenant's, which then gets them, answers 503.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidestream.config import HeaderSettings
from sidestream.routing.headers import HeaderMatch, MatchKind, any_tenant_matches, tenant_matches
from sidestream.routing.proof import PROBE_HEADER, PROBE_METHOD, PROBE_PATH
from sidestream.routing.providers.ingressroute_match import condition
from sidestream.routing.providers.ingressroute_services import NOOP, Backends, Changed, Place
from sidestream.routing.table import Rule, Tenant

FOR_PREVIEW_PROBES: Final = 2_147_000_000
FOR_PREVIEWS: Final = 2_000_000_000
FOR_TENANTS: Final = 1_000_000_000
FOR_PROBES: Final = 1_300_000_000
FOR_NOBODY: Final = 1_600_000_000


class IngressRouteDialect:
    """Rules in an IngressRoute of `namespace`, for tenants named as `header` says.

    `names` are what TraefikServices of ours are called, by the places of the users'.
    """

    def __init__(self, header: HeaderSettings, namespace: str, backends: Backends, names: Mapping[Place, str]) -> None:
        self._header = header
        self._namespace = namespace
        self._backends = backends
        self._names = names

    def leads_to_fork(self, rule: Rule, tenant: Tenant) -> bool:
        """Whether a share of the requests arrives at a Service that the tenant has forked."""
        return any(tenant.fork_of(host) for host in self._backends.reached_by(rule, self._namespace))

    def matches_everything(self, _rule: Rule) -> bool:
        """No rule is taken for that: it would have to be worked out, and one clone too many changes nothing."""
        return False

    def for_tenant(self, rule: Rule, tenant: Tenant) -> Rule:
        """The rule with the tenant's header asked for, leading to the forks."""
        services, _ = self._forked(rule, tenant)
        match = f"({rule['match']}) && {self._names_tenant(tenant)}"
        priority = FOR_TENANTS + 2 * rule["priority"] + 1
        return {**copy.deepcopy(rule), "match": match, "priority": priority, "services": services}

    def for_want_of_it(self, rule: Rule, tenant: Tenant, middleware: str) -> Rule:
        """What gets the requests of `for_tenant` while Traefik leaves that one out, and answers by `middleware`."""
        # in brackets: of two rules with one text Traefik keeps one. The user's conditions come first here, too: Traefik
        # tries the rules of all hosts for every request, and with the regex first each would cost all other hosts
        match = f"(({rule['match']})) && {self._names_tenant(tenant)}"
        return answered(match, FOR_TENANTS + 2 * rule["priority"], middleware, rule)

    def for_nobody(self, rule: Rule) -> Rule | None:
        """The rule with every way to name a tenant excluded."""
        excluded = any_tenant_matches(self._header)
        probing = condition("HeaderRegexp", PROBE_HEADER, ".")
        conditions = [f"({rule['match']})", *(f"!{_header(match)}" for match in excluded), f"!{probing}"]
        return {
            **copy.deepcopy(rule),
            "match": " && ".join(conditions),
            "priority": FOR_NOBODY + 2 * rule["priority"],
        }

    def changed_for(self, rule: Rule, tenant: Tenant) -> Changed:
        """The TraefikServices of ours that `for_tenant` refers to."""
        return self._forked(rule, tenant)[1]

    def _forked(self, rule: Rule, tenant: Tenant) -> tuple[list[dict[str, Any]], Changed]:
        return self._backends.forked(rule, self._namespace, tenant, self._names.__getitem__)

    def _names_tenant(self, tenant: Tenant) -> str:
        alternatives = [_header(match) for match in tenant_matches(self._header, tenant.key)]
        return alternatives[0] if len(alternatives) == 1 else f"({' || '.join(alternatives)})"


def probe_rule(names: Sequence[str], host: str, middleware: str, like: Rule, priority: int) -> Rule:
    """What answers the probe for any of the objects; `host` is empty where any will do, `like` a rule of the user's."""
    conditions = [
        f"({' || '.join(condition('Header', PROBE_HEADER, name) for name in names)})",
        condition("Method", PROBE_METHOD),
        condition("Path", PROBE_PATH),
        *([condition("Host", host)] if host else []),
    ]
    return answered(" && ".join(conditions), priority, middleware, like)


def answered(match: str, priority: int, middleware: str, like: Rule) -> Rule:
    """A rule whose requests meet no pod: the middleware answers them."""
    kept: Rule = {key: like[key] for key in ("kind", "syntax") if key in like}
    return {
        **kept,
        "match": match,
        "priority": priority,
        "middlewares": [{"name": middleware}],
        "services": [dict(NOOP)],
    }


def _header(match: HeaderMatch) -> str:
    return condition("Header" if match.kind is MatchKind.EXACT else "HeaderRegexp", match.name, match.value)
