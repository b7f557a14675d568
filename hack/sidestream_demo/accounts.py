"""Who handled a tenant's orders, by the programs' own word, and whether that is as promised."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sidestream_demo.errors import BrokenPromiseError
from sidestream_demo.traffic import BASELINE


@dataclass(frozen=True)
class Account:
    """The orders of one tenant; each is in one of the four counts after `produced`."""

    tenant: str
    produced: int
    by_fork: int
    by_baseline: int
    by_both: int
    by_nobody: int


def accounts(produced: Mapping[str, str], handled: Mapping[str, Collection[str]]) -> tuple[Account, ...]:
    """An account for each tenant: `produced` has the tenant of each order, `handled` the versions that handled it."""
    return tuple(
        _account(tenant, [_who(handled.get(order, ())) for order, owner in produced.items() if owner == tenant])
        for tenant in sorted(set(produced.values()))
    )


def check_accounts(found: Collection[Account], owner: str) -> None:
    """Raise BrokenPromiseError unless each order was handled by one version, and the fork had only its owner's."""
    for account in found:
        if account.by_both or account.by_nobody:
            raise BrokenPromiseError(
                f"Each order should be handled by one version, but of {account.produced} orders of {account.tenant} "
                f"{account.by_both} were handled by both and {account.by_nobody} by nobody."
            )
        if account.tenant != owner and account.by_fork:
            raise BrokenPromiseError(
                f"The fork is {owner}'s, but it handled {account.by_fork} orders of {account.tenant}."
            )
        if account.tenant == owner and not (account.by_fork and account.by_baseline):
            raise BrokenPromiseError(
                f"The fork was deleted amid the orders of {owner}, so both versions should have had some, but the fork "
                f"handled {account.by_fork} of them and the baseline {account.by_baseline}."
            )


def _account(tenant: str, whos: Collection[str]) -> Account:
    count = [*whos].count
    return Account(tenant, len(whos), count("fork"), count("baseline"), count("both"), count("nobody"))


def _who(versions: Collection[str]) -> str:
    is_fork, is_baseline = any(version != BASELINE for version in versions), BASELINE in versions
    if is_fork and is_baseline:
        return "both"
    if is_fork:
        return "fork"
    return "baseline" if is_baseline else "nobody"
