import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidestream_lab import images, istio
from sidestream_lab.paths import IMAGES, World

VALUES = {World.OWN: "values-stock-envoy.yaml", World.USER: "values-istio-proxy.yaml"}


def values(world: World) -> Any:
    return yaml.safe_load((istio.FOLDER / VALUES[world]).read_text())


def template(name: str = "stock") -> str:
    return (istio.FOLDER / istio.STOCK_TEMPLATES[name]).read_text()


def filled(name: str) -> str:
    """A template as far as this needs no Go: what it would fill in becomes a plain word."""
    text = re.sub(r"\{\{- (?:/\*.*?\*/|\$.*?|range .*?|end )\}\}\n?", "", template(name), flags=re.DOTALL)
    text = re.sub(r"\{\{ (?:toJSON .*?|\$labels|\$owner) \}\}", "{app: shop}", text)
    return re.sub(r"\{\{.*?\}\}", "word", text)


def rendered() -> Any:
    """The sidecar template."""
    return yaml.safe_load(filled("stock"))


def deployed() -> dict[str, Any]:
    """What istiod makes for a Gateway, by kind."""
    return {item["kind"]: item for item in yaml.safe_load_all(filled("kube-gateway"))}


def gateway() -> Any:
    (container,) = deployed()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return container


def containers() -> dict[str, Any]:
    return {item["name"]: item for item in rendered()["spec"]["initContainers"]}


def bootstrap_of(container: Any) -> Any:
    arguments = container["args"]
    return yaml.safe_load(arguments[arguments.index("--config-yaml") + 1])


def bootstrap() -> Any:
    return bootstrap_of(containers()["istio-proxy"])


@pytest.mark.parametrize("world", World)
def test_helm_is_given_the_labs_own_images(world: World) -> None:
    arguments = [str(argument) for argument in istio.helm_arguments(world, ["CHART"])]
    assert f"image={images.catalogue(world)['istiod'].reference}" in arguments
    assert values(world)["global"]["hub"] == "sidestream-lab"
    sidecar = images.catalogue(world)[values(world)["global"]["proxy"].get("image", "proxyv2")]
    assert f"global.tag={sidecar.version}" in arguments


@pytest.mark.parametrize("world", World)
def test_helm_is_given_files_that_exist(world: World) -> None:
    paths = [part for part in istio.helm_arguments(world, ["CHART"]) if isinstance(part, Path)]
    assert paths
    assert all(path.is_file() for path in paths)


def test_only_a_stock_envoy_has_a_template_of_its_own() -> None:
    assert not any("templates" in str(part) for part in istio.helm_arguments(World.USER, ["CHART"]))
    assert "sidecarInjectorWebhook" not in values(World.USER)


def test_every_stock_template_is_given_to_helm() -> None:
    arguments = {str(part) for part in istio.helm_arguments(World.OWN, ["CHART"])}
    for name, file in istio.STOCK_TEMPLATES.items():
        assert f"sidecarInjectorWebhook.templates.{name}={istio.FOLDER / file}" in arguments


def test_the_default_template_is_the_one_that_helm_is_given() -> None:
    (default,) = values(World.OWN)["sidecarInjectorWebhook"]["defaultTemplates"]
    assert any(f"templates.{default}=" in str(part) for part in istio.helm_arguments(World.OWN, ["CHART"]))


def test_probes_go_to_the_application_since_no_agent_would_answer_them() -> None:
    assert values(World.OWN)["sidecarInjectorWebhook"]["rewriteAppHTTPProbe"] is False


def test_a_stock_envoy_is_sent_nothing_that_only_istios_proxy_knows() -> None:
    found = values(World.OWN)
    assert found["telemetry"]["enabled"] is False
    assert found["meshConfig"]["enableAutoMtls"] is False
    off = ("PILOT_ENABLE_ALPN_FILTER", "PILOT_ENABLE_METADATA_EXCHANGE", "PILOT_ENABLE_AMBIENT")
    assert [found["env"][name] for name in off] == ["false"] * 3


def redirected() -> list[str]:
    rules = (IMAGES / "envoy" / "redirect.rules").read_text().splitlines()
    return [line for line in rules if line.startswith("-A")]


def test_what_a_pod_opens_goes_to_the_port_where_istiod_has_the_proxy_listen() -> None:
    assert redirected()[-1].endswith("-j REDIRECT --to-ports 15001")
    assert bootstrap()["node"]["metadata"]["INTERCEPTION_MODE"] == "REDIRECT"


def test_what_the_proxy_opens_is_not_sent_back_to_it() -> None:
    user = re.search(r"runAsUser: \{\{ \.ProxyUID \| default \"(\d+)\" \}\}", template())
    assert user is not None
    *exceptions, _ = redirected()
    assert f"-A TO_SIDECAR -m owner --uid-owner {user[1]} -j RETURN" in exceptions


def test_only_the_container_that_sets_the_rules_may_change_the_network() -> None:
    may = {name: item["securityContext"]["capabilities"].get("add", []) for name, item in containers().items()}
    assert may == {"istio-init": ["NET_ADMIN"], "istio-proxy": []}


def test_applications_need_not_be_told_of_the_proxy() -> None:
    assert "containers" not in rendered()["spec"]


def test_the_proxy_starts_before_the_application_and_outlives_it() -> None:
    sidecar = containers()["istio-proxy"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["port"] == 15021


def test_the_admin_interface_stays_inside_the_pod() -> None:
    assert bootstrap()["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_the_injection_probe_asks_for_a_sidecar_where_no_namespace_does() -> None:
    assert istio.PROBE["metadata"]["labels"] == {"sidecar.istio.io/inject": "true"}


@pytest.mark.parametrize("world", World)
def test_a_gateway_needs_no_address_from_outside(world: World) -> None:
    assert values(world)["gatewayClasses"]["istio"]["service"]["spec"]["type"] == "ClusterIP"


def test_what_is_deployed_for_a_gateway_goes_with_it() -> None:
    assert set(deployed()) == {"ServiceAccount", "Deployment", "Service"}
    assert all(item["metadata"]["ownerReferences"] for item in deployed().values())


def test_a_gateway_is_no_sidecar() -> None:
    arguments = gateway()["args"]
    assert arguments[arguments.index("--service-node") + 1].startswith("router~$(POD_IP)~")
    assert "INTERCEPTION_MODE" not in bootstrap_of(gateway())["node"]["metadata"]
    assert '"sidecar.istio.io/inject" "false"' in template("kube-gateway")


def test_a_gateway_tells_its_labels_by_which_istiod_knows_what_it_serves() -> None:
    assert bootstrap_of(gateway())["node"]["metadata"]["LABELS"]
    assert bootstrap()["node"]["metadata"]["LABELS"]


def test_a_gateway_may_listen_where_users_expect_it() -> None:
    pod = deployed()["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["sysctls"] == [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    assert gateway()["securityContext"]["runAsNonRoot"] is True


def test_a_gateway_and_a_sidecar_are_started_alike_but_for_who_they_are() -> None:
    ours, theirs = bootstrap_of(gateway()), bootstrap()
    assert ours.pop("node")
    assert theirs.pop("node")
    assert ours == theirs
    for field in ("image", "startupProbe", "readinessProbe", "resources", "securityContext"):
        assert gateway()[field] == containers()["istio-proxy"][field]
