"""The demo's chapters, in order; each shows what it does and checks what it promises."""

import time
from dataclasses import dataclass

from sidestream.api import labels
from sidestream.kube.port import DEPLOYMENTS, KAFKA_ROUTES, SANDBOXES, SERVICES, VIRTUAL_SERVICES, Object, Resource
from sidestream_demo import shop as place
from sidestream_demo.accounts import accounts, check_accounts
from sidestream_demo.cluster import is_condition
from sidestream_demo.errors import BrokenPromiseError
from sidestream_demo.fences import Fence, check_begun, fences_of
from sidestream_demo.forward import PortForward
from sidestream_demo.process import wait_until
from sidestream_demo.screen import Screen
from sidestream_demo.shop import Shop
from sidestream_demo.stream import Stream
from sidestream_demo.traffic import ANSWER_SECONDS, check, handlers, place_order, promised

TENANT = place.SANDBOX
STRANGER = "bob"
FORKS = ("orders", "fulfilment")
PER_SECOND = 40
FEW = 20
"""So many orders has the fork handled before the Sandbox is deleted."""
READY_SECONDS = 180.0
GONE_SECONDS = 180.0
OURS = f"{labels.MANAGED_BY}={labels.MANAGED_BY_VALUE}"
KINDS: tuple[Resource, ...] = (DEPLOYMENTS, SERVICES, VIRTUAL_SERVICES, KAFKA_ROUTES)


@dataclass(frozen=True)
class Story:
    """The demo once the shop is deployed and Sidestream is installed."""

    shop: Shop
    screen: Screen

    def tell(self, *, keep: bool) -> None:
        """All chapters; with `keep` the Sandbox stays, and so does everything else."""
        self.show_baseline()
        self.fork()
        self.show_tenants()
        self.show_group()
        self.show_fences()
        if keep:
            self.show_what_to_try()
            return
        self.delete()
        self.show_afterwards()

    def show_baseline(self) -> None:
        """Requests before there is any Sandbox: all on the baseline, whatever tenant they name."""
        self.screen.title("The shop as everybody uses it: a request, then a record, through four services")
        self._requests(None, TENANT, forks=())

    def fork(self) -> None:
        """Apply the Sandbox and wait until it is Ready."""
        self.screen.title(f"{TENANT} changed {' and '.join(FORKS)} and wants to try that here")
        self.screen.command(f"kubectl apply -f {place.SANDBOX_FILE}")
        begin = time.monotonic()
        self.shop.cluster.apply(SANDBOXES, self.shop.sandbox())
        last: Object | None = None
        is_ready = is_condition("Ready")
        for state in self.shop.cluster.states(SANDBOXES, place.NAMESPACE, TENANT, timeout=READY_SECONDS):
            self.screen.conditions(time.monotonic() - begin, last, state)
            last = state
            if is_ready(state):
                self.screen.say(
                    f"  [green]Ready[/] after {time.monotonic() - begin:.1f} s. It made, beside the baseline:"
                )
                self._show_objects()
                return
        raise BrokenPromiseError(f"The Sandbox {TENANT} is not Ready after {READY_SECONDS:.0f} s.")

    def show_tenants(self) -> None:
        """The same requests again: only the tenant's take the forks."""
        self.screen.title(f"The same requests again: only those of {TENANT} meet the forks")
        self._requests(None, TENANT, STRANGER, TENANT, None, forks=FORKS)

    def show_group(self) -> None:
        """The consumer group that Kafka has for the fork."""
        self.screen.title("The fork reads the same topic in a consumer group of its own, made and placed by Sidestream")
        for name in (place.GROUP, place.FORK_GROUP):
            group = self.shop.kafka.group(name)
            if group is None or not group.members:
                raise BrokenPromiseError(f"Kafka should have the consumer group {name} with a member, and has {group}.")
            self.screen.group(group)

    def show_fences(self) -> None:
        """From which record on the tenant's are the fork's, as the baseline has acknowledged it."""
        self.screen.title(f"From these offsets on records of {TENANT} are the fork's, as the baseline has acknowledged")
        fences = self._fences()
        self.screen.fences(fences)
        check_begun(fences, TENANT, place.TOPIC, place.PARTITIONS)

    def delete(self) -> None:
        """Delete the Sandbox amid orders, see all that it made go, and count who handled which order."""
        self.screen.title(f"{TENANT} is done, while {PER_SECOND} orders a second of {TENANT} and {STRANGER} come in")
        writer = self.shop.kafka.writer(place.TOPIC)
        with (
            PortForward(self.shop.cluster, place.NAMESPACE, "service/inventory", 8080) as inventory,
            Stream(writer, (TENANT, STRANGER), PER_SECOND) as stream,
        ):
            self._until_the_fork_handles(inventory, stream)
            self._delete_sandbox()
            self._show_nothing_left()
            produced = stream.stop()
            self.screen.title("Who handled the orders that came in meanwhile, as fulfilment told the inventory")
            with self.screen.step(f"{place.GROUP} has worked off all records", "2 s"):
                wait_until(self._is_worked_off, GONE_SECONDS, f"{place.GROUP} to work off all records", every=0.5)
            found = accounts(produced, handlers(inventory, stream.prefix))
        self.screen.accounts(found)
        check_accounts(found, TENANT)
        self.screen.say("  Each order by one version, none by both, none by nobody.")

    def show_afterwards(self) -> None:
        """The tenant's requests are the baseline's again."""
        self.screen.title(f"Requests of {TENANT} are back on the baseline")
        self._requests(TENANT, None, forks=())

    def show_what_to_try(self) -> None:
        """Commands for whoever keeps the demo running."""
        namespace = place.NAMESPACE
        as_json, order = "-H 'content-type: application/json'", '{"item": "pen", "quantity": 1}'
        self.screen.title("It is all still running (KEEP=1). Try:")
        for text in (
            'eval "$(hack/lab env)"    # kubectl and Kafka of the lab, in this shell',
            f"kubectl -n {namespace} get sandboxes,kafkaroutes,deployments,services,virtualservices",
            f"kubectl -n {namespace} describe sandbox {TENANT}",
            f"kubectl -n {namespace} port-forward service/storefront 8000:8080 &",
            f"curl -s localhost:8000/orders {as_json} -d '{order}' -H 'baggage: tenant={TENANT}'",
            f"hack/demo produce --tenant {TENANT}    # a record straight into {place.TOPIC}",
            f"kubectl -n {namespace} logs deployment/fulfilment-{TENANT} -c app --follow",
            "hack/demo fences    # from which record on whose they are",
            "hack/demo delete    # delete the Sandbox amid orders, and count who handled them",
        ):
            self.screen.command(text)
        self.screen.say("  `hack/demo clean` takes the shop and Sidestream away, `make lab-down` stops the lab.")

    def _until_the_fork_handles(self, inventory: str, stream: Stream) -> None:
        def is_busy() -> bool:
            return sum(TENANT in versions for versions in handlers(inventory, stream.prefix).values()) >= FEW

        wait_until(is_busy, ANSWER_SECONDS, f"the fork to handle {FEW} orders")

    def _delete_sandbox(self) -> None:
        self.screen.command(f"kubectl delete -n {place.NAMESPACE} sandbox {TENANT}")
        begin = time.monotonic()
        last = self.shop.cluster.get(SANDBOXES, place.NAMESPACE, TENANT)
        fences: tuple[Fence, ...] = ()
        self.shop.cluster.delete(SANDBOXES, place.NAMESPACE, TENANT)
        for state in self.shop.cluster.states(SANDBOXES, place.NAMESPACE, TENANT, timeout=GONE_SECONDS):
            self.screen.conditions(time.monotonic() - begin, last, state)
            last = state
            fences = self._fences() or fences
            if state is None:
                break
        else:
            raise BrokenPromiseError(f"The Sandbox {TENANT} is not gone {GONE_SECONDS:.0f} s after its deletion.")
        self.screen.say(f"  [green]Gone[/] after {time.monotonic() - begin:.1f} s. These records were the fork's:")
        self.screen.fences(fences)
        # The route outlives the Sandbox until the baseline has passed the fork's records, too.
        self.shop.cluster.wait_gone(KAFKA_ROUTES, place.NAMESPACE, place.ROUTE, timeout=GONE_SECONDS)
        self.screen.say(f"  What is left of it after {time.monotonic() - begin:.1f} s:")

    def _fences(self) -> tuple[Fence, ...]:
        return fences_of(self.shop.cluster.get(KAFKA_ROUTES, place.NAMESPACE, place.ROUTE))

    def _is_worked_off(self) -> bool:
        group = self.shop.kafka.group(place.GROUP)
        return group is not None and all(item.end in {0, item.committed} for item in group.positions)

    def _requests(self, *tenants: str | None, forks: tuple[str, ...]) -> None:
        with PortForward(self.shop.cluster, place.NAMESPACE, "service/storefront", 8080) as storefront:
            for tenant in tenants:
                trip = place_order(storefront, tenant)
                self.screen.trip(trip)
                mine = forks if tenant == TENANT else ()
                check(trip, promised(tenant, mine, TENANT))

    def _ours(self) -> dict[Resource, list[str]]:
        return {
            kind: sorted(
                item["metadata"]["name"] for item in self.shop.cluster.objects(kind, place.NAMESPACE, labels=OURS)
            )
            for kind in KINDS
        }

    def _show_objects(self) -> None:
        for kind, names in self._ours().items():
            if not names:
                raise BrokenPromiseError(f"The Sandbox {TENANT} is Ready, but it made no {kind.kind}.")
            self.screen.say(f"    {kind.kind:<15} {', '.join(names)}")

    def _show_nothing_left(self) -> None:
        for kind, names in self._ours().items():
            if names:
                raise BrokenPromiseError(f"The Sandbox {TENANT} is gone, but its {kind.kind} {names} is still there.")
            self.screen.say(f"    {kind.kind:<15} none")
        wait_until(self.shop.kafka.is_reachable, GONE_SECONDS, "Kafka to answer")
        if place.FORK_GROUP in self.shop.kafka.group_names():
            raise BrokenPromiseError(f"The Sandbox {TENANT} is gone, but Kafka still has its group {place.FORK_GROUP}.")
        self.screen.say(f"    {'consumer group':<15} none")
