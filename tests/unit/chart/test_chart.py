"""What the chart installs, rendered by real helm."""

from typing import Any

import pytest
import yaml

from .conftest import CHART, NAMESPACE, Helm, Object, Render

CRDS = CHART / "files" / "crds"
PARTS = ("operator", "mapping", "prober")


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def container(deployment: Object) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def environment(deployment: Object) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container(deployment)["env"]}


def test_helm_lint_has_nothing_to_say_against_it(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


class TestSchema:
    @pytest.mark.parametrize(
        "value",
        ["bogus=1", "operator.bogus=1", "image.bogus=1", "prober.resources.bogus=1", "header.bogus=1"],
    )
    def test_an_unknown_value_is_refused_by_its_name(self, template: Helm, value: str) -> None:
        done = template(value)
        assert done.returncode != 0
        assert "'bogus' not allowed" in done.stderr

    @pytest.mark.parametrize(
        ("value", "place"),
        [
            ("header.mode=cookie", "/header/mode"),
            ("header.baggageKeys=tenant", "/header/baggageKeys"),
            ("header.baggageKeys={a b}", "/header/baggageKeys/0"),
            ("log.level=loud", "/log/level"),
            ("operator.replicas=two", "/operator/replicas"),
            ("operator.workers=0", "/operator/workers"),
            ("mapping.maxWaiters=-1", "/mapping/maxWaiters"),
            ("mapping.auth.enabled=perhaps", "/mapping/auth/enabled"),
            ("image.digest=latest", "/image/digest"),
            ("crds.enabled=perhaps", "/crds/enabled"),
            ("prober.url=example.com", "/prober/url"),
            ("mapping.tls.secretName=Not_A_Name", "/mapping/tls/secretName"),
            ("mapping.networkPolicy.from[0].pods=all", "/mapping/networkPolicy/from/0"),
        ],
    )
    def test_a_wrong_value_is_refused_with_its_place(self, template: Helm, value: str, place: str) -> None:
        done = template(value)
        assert done.returncode != 0
        assert place in done.stderr

    def test_it_knows_every_value_of_the_defaults_and_no_other(self) -> None:
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        schema = yaml.safe_load((CHART / "values.schema.json").read_text())
        assert set(schema["properties"]) == set(values) | {"global"}
        for key, default in values.items():
            if isinstance(default, dict):
                assert set(schema["properties"][key]["properties"]) == set(default), key


class TestCrds:
    def test_all_are_installed_unchanged_but_for_metadata(self, render: Render) -> None:
        rendered = of_kind(render(), "CustomResourceDefinition")
        sources = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
        assert len(sources) >= 4
        assert {name: item["spec"] for name, item in rendered.items()} == {
            item["metadata"]["name"]: item["spec"] for item in sources
        }

    def test_a_consumer_is_fenced_unless_it_says_otherwise(self, render: Render) -> None:
        consumers = of_kind(render(), "CustomResourceDefinition")["kafkaconsumers.sidestream.dev"]
        spec = consumers["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        coordination = spec["properties"]["coordination"]
        assert coordination["default"] == "Fenced"
        assert set(coordination["enum"]) == {"Fenced", "Polling"}

    def test_they_stay_at_uninstall(self, render: Render) -> None:
        for item in of_kind(render(), "CustomResourceDefinition").values():
            assert item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"

    def test_they_go_with_the_release_when_asked(self, render: Render) -> None:
        for item in of_kind(render("crds.keep=false"), "CustomResourceDefinition").values():
            assert "helm.sh/resource-policy" not in item["metadata"].get("annotations", {})

    def test_they_can_be_left_out(self, render: Render) -> None:
        assert not of_kind(render("crds.enabled=false"), "CustomResourceDefinition")


class TestPods:
    @pytest.mark.parametrize("part", PARTS)
    def test_run_with_as_few_rights_as_possible(self, render: Render, part: str) -> None:
        deployment = of_kind(render(), "Deployment")[f"sidestream-{part}"]
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(deployment)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    @pytest.mark.parametrize("part", PARTS)
    def test_have_probes_and_bounded_memory(self, render: Render, part: str) -> None:
        spec = container(of_kind(render(), "Deployment")[f"sidestream-{part}"])
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(spec)
        assert "memory" in spec["resources"]["limits"]
        assert {"cpu", "memory"} <= set(spec["resources"]["requests"])

    @pytest.mark.parametrize("part", PARTS)
    def test_are_selected_by_labels_that_they_have(self, render: Render, part: str) -> None:
        objects = render(f"{part}.podDisruptionBudget.enabled=true")
        deployment = of_kind(objects, "Deployment")[f"sidestream-{part}"]
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        budget = of_kind(objects, "PodDisruptionBudget")[f"sidestream-{part}"]
        selectors = [deployment["spec"]["selector"]["matchLabels"], budget["spec"]["selector"]["matchLabels"]]
        service = of_kind(objects, "Service").get(f"sidestream-{part}")
        if service:
            selectors.append(service["spec"]["selector"])
        for selector in selectors:
            assert selector.items() <= labels
            assert selector["app.kubernetes.io/component"] == part

    @pytest.mark.parametrize("part", PARTS)
    def test_know_which_header_names_the_tenant(self, render: Render, part: str) -> None:
        objects = render("header.mode=both", "header.baggageKeys={team,tenant}", "header.name=x-team")
        told = environment(of_kind(objects, "Deployment")[f"sidestream-{part}"])
        assert told["SIDESTREAM_HEADER_MODE"] == "both"
        assert told["SIDESTREAM_BAGGAGE_KEYS"] == "team,tenant"
        assert told["SIDESTREAM_HEADER_NAME"] == "x-team"

    def test_have_a_sidecar_only_where_requests_go_through_the_mesh(self, render: Render) -> None:
        deployments = of_kind(render(), "Deployment")
        inject = {
            part: deployments[f"sidestream-{part}"]["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"]
            for part in PARTS
        }
        assert inject == {"operator": "false", "mapping": "false", "prober": "true"}

    def test_take_labels_that_a_mesh_with_revisions_wants(self, render: Render) -> None:
        objects = render("prober.podLabels.istio\\.io/rev=stable")
        labels = of_kind(objects, "Deployment")["sidestream-prober"]["spec"]["template"]["metadata"]["labels"]
        assert labels["istio.io/rev"] == "stable"
        assert labels["sidecar.istio.io/inject"] == "true"

    def test_can_be_pinned_by_digest(self, render: Render) -> None:
        digest = "sha256:" + "a" * 64
        deployment = of_kind(render(f"image.digest={digest}"), "Deployment")["sidestream-operator"]
        assert container(deployment)["image"] == f"sidestream/operator@{digest}"


class TestProber:
    def test_is_where_the_operator_asks(self, render: Render) -> None:
        objects = render()
        url = environment(of_kind(objects, "Deployment")["sidestream-operator"])["SIDESTREAM_PROBER_URL"]
        assert url == f"http://sidestream-prober.{NAMESPACE}.svc:8080"
        assert of_kind(objects, "Service")["sidestream-prober"]["spec"]["ports"][0]["port"] == 8080

    def test_leaves_nothing_behind_when_disabled(self, render: Render) -> None:
        objects = render("prober.enabled=false")
        assert not [item for item in objects if "prober" in item["metadata"]["name"]]
        assert "SIDESTREAM_PROBER_URL" not in environment(of_kind(objects, "Deployment")["sidestream-operator"])

    def test_may_be_the_users_own(self, render: Render) -> None:
        objects = render("prober.enabled=false", "prober.url=http://prober.example.svc:8080")
        told = environment(of_kind(objects, "Deployment")["sidestream-operator"])
        assert told["SIDESTREAM_PROBER_URL"] == "http://prober.example.svc:8080"

    def test_is_not_both_ours_and_the_users(self, template: Helm) -> None:
        done = template("prober.url=http://prober.example.svc:8080")
        assert done.returncode != 0
        assert "set prober.enabled to false" in done.stderr


def test_mapping_is_a_service_that_applications_reach_by_a_fixed_name(render: Render) -> None:
    service = of_kind(render(), "Service")["sidestream-mapping"]
    assert service["spec"]["ports"][0]["port"] == 8080


def test_mapping_is_told_how_many_requests_may_wait(render: Render) -> None:
    told = environment(of_kind(render("mapping.maxWaiters=2000000"), "Deployment")["sidestream-mapping"])
    assert told["SIDESTREAM_MAX_WAITERS"] == "2000000"


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_mapping_is_told_whether_callers_show_tokens(render: Render, enabled: str) -> None:
    told = environment(of_kind(render(f"mapping.auth.enabled={enabled}"), "Deployment")["sidestream-mapping"])
    assert told["SIDESTREAM_AUTH"] == enabled


class TestMappingOverTls:
    SECRET = "mapping.tls.secretName=mapping-tls"

    def test_shows_the_certificate_of_the_secret(self, render: Render) -> None:
        deployment = of_kind(render(self.SECRET), "Deployment")["sidestream-mapping"]
        folder = environment(deployment)["SIDESTREAM_TLS_FOLDER"]
        (mount,) = (item for item in container(deployment)["volumeMounts"] if item["mountPath"] == folder)
        volumes = {item["name"]: item for item in deployment["spec"]["template"]["spec"]["volumes"]}
        assert volumes[mount["name"]]["secret"] == {"secretName": "mapping-tls"}
        assert mount["readOnly"] is True
        assert "subPath" not in mount, "such a mount never sees a renewed certificate"

    @pytest.mark.parametrize(
        ("values", "scheme"), [((), "HTTP"), ((SECRET,), "HTTPS")], ids=["without a Secret", "with a Secret"]
    )
    def test_is_probed_and_announced_as_it_speaks(self, render: Render, values: tuple[str, ...], scheme: str) -> None:
        objects = render(*values)
        spec = container(of_kind(objects, "Deployment")["sidestream-mapping"])
        probes = [spec[name]["httpGet"]["scheme"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert probes == [scheme] * 3
        (port,) = of_kind(objects, "Service")["sidestream-mapping"]["spec"]["ports"]
        assert (port["name"], port["appProtocol"], port["port"]) == (scheme.lower(), scheme.lower(), 8080)

    @pytest.mark.parametrize("part", ["operator", "prober"])
    def test_is_nobody_elses(self, render: Render, part: str) -> None:
        plain, secured = (of_kind(render(*values), "Deployment") for values in ((), (self.SECRET,)))
        assert plain[f"sidestream-{part}"] == secured[f"sidestream-{part}"]

    def test_needs_no_folder_without_a_secret(self, render: Render) -> None:
        assert "SIDESTREAM_TLS_FOLDER" not in environment(of_kind(render(), "Deployment")["sidestream-mapping"])


class TestNetworkPolicy:
    ENABLED = "mapping.networkPolicy.enabled=true"

    def test_is_there_only_when_asked_for(self, render: Render) -> None:
        assert not of_kind(render(), "NetworkPolicy")
        assert set(of_kind(render(self.ENABLED), "NetworkPolicy")) == {"sidestream-mapping"}

    def test_lets_all_namespaces_in_by_the_port_of_the_pods_and_leaves_what_goes_out(self, render: Render) -> None:
        objects = render(self.ENABLED)
        policy = of_kind(objects, "NetworkPolicy")["sidestream-mapping"]["spec"]
        assert policy["policyTypes"] == ["Ingress"]
        assert policy["ingress"] == [
            {"ports": [{"port": "http", "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]}
        ]
        deployment = of_kind(objects, "Deployment")["sidestream-mapping"]
        assert policy["podSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
        assert "http" in {port["name"] for port in container(deployment)["ports"]}

    def test_lets_only_the_peers_in_that_are_named(self, render: Render) -> None:
        peer = "mapping.networkPolicy.from[0].namespaceSelector.matchLabels.team=shop"
        policy = of_kind(render(self.ENABLED, peer), "NetworkPolicy")["sidestream-mapping"]["spec"]
        assert policy["ingress"][0]["from"] == [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}]


def test_names_follow_the_release(helm: Helm) -> None:
    done = helm("template", "team", str(CHART), "--kube-version", "1.36.0", "--set", "crds.enabled=false")
    names = {item["metadata"]["name"] for item in yaml.safe_load_all(done.stdout) if item}
    assert {name for name in names if not name.startswith("team-sidestream-")} == set()
