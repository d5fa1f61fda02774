"""The version matrix: the file as it ships, and each verdict by it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._fleet.pools import Pool
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._fleet import version_matrix as _version_matrix
from packaging.specifiers import SpecifierSet

DOCUMENT = yaml.safe_load(_version_matrix.DATA.read_text())
HOST = {"os": "debian", "os_version": "12", "kernel": "6.1.0-31-amd64", "cgroup_version": 2}
CACHE_CONFIG = "_EXPERIMENTAL_DAGGER_CACHE_CONFIG"


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


# The data.


def test_the_file_that_ships_is_valid() -> None:
    matrix = _version_matrix.matrix()
    assert matrix is _version_matrix.matrix()
    assert [len(getattr(matrix, name)) for name in _version_matrix.LISTS] == [
        len(DOCUMENT[name]) for name in _version_matrix.LISTS
    ]
    entries = [entry for name in _version_matrix.LISTS for entry in getattr(matrix, name)]
    assert all(entry.source.startswith("https://") and entry.checked for entry in entries)


def test_what_is_pinned_goes_together(repository: Path) -> None:
    client = re.search(r"^kubernetes==(\S+)$", (repository / "requirements.txt").read_text(), re.MULTILINE)
    assert client
    pinned = {name: version for name, version in PINS.items() if name in DOCUMENT["components"]}
    assert {"kubernetes", "containerd", "runc", "cert_manager", "arc_legacy", "engine"} <= set(pinned)
    assert _version_matrix.pair_findings({**pinned, "python_client": client[1]}) == []
    assert _version_matrix.engine_findings([engines(PINS["engine"])]) == []


def test_every_component_is_in_the_documentation(repository: Path) -> None:
    text = (repository / "docs/versions.md").read_text()
    assert [title for title in DOCUMENT["components"].values() if title not in text] == []


def changed(change: Callable[[Any], Any]) -> Any:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.pop("pairs"), "the version matrix has .*; expected", id="a list is missing"),
        pytest.param(lambda d: d["pairs"].append("x"), "found 'x', expected a dictionary", id="no entry"),
        pytest.param(lambda d: d["pairs"][0].pop("source"), r"pairs\[0\]: .*missing keys: source", id="no source"),
        pytest.param(lambda d: d["pairs"][0].update(work="x"), r"pairs\[0\]: unknown keys: work", id="unknown key"),
        pytest.param(
            lambda d: d["pairs"][0].pop("works"), r"pairs\[0\]: expected works, fails or both", id="says nothing"
        ),
        pytest.param(
            lambda d: d["pairs"][0].update(works="1.2 to 1.4"), r"pairs\[0\].works: found '1.2 to 1.4'", id="no range"
        ),
        pytest.param(
            lambda d: d["pairs"][0].update(works=1.2), r"pairs\[0\].works: found 1.2, expected a range", id="a number"
        ),
        pytest.param(
            lambda d: d["pairs"][0].update(works="~=1.2"), r"pairs\[0\].works: found '~=1.2'", id="an operator too many"
        ),
        pytest.param(
            lambda d: d["pairs"][0].update(works="==1.2"), r"pairs\[0\].works: found '==1.2'", id="one version only"
        ),
        pytest.param(lambda d: d["pairs"][0].update(source="http://example.org"), "begins with https://", id="source"),
        pytest.param(
            lambda d: d["pairs"][0].update(checked="today"),
            r"pairs\[0\].checked: found 'today', expected date",
            id="date",
        ),
        pytest.param(
            lambda d: d["pairs"][0].update(against="docker"),
            r"pairs\[0\]: docker is not among the components",
            id="component",
        ),
        pytest.param(lambda d: d["engine_features"][0].update(kind="flag"), "expected one of setting, verb", id="kind"),
        pytest.param(
            lambda d: d["engine_features"][0].update(until="v0.21"),
            "an engine version must look like",
            id="engine version",
        ),
        pytest.param(lambda d: d["engine_cache_schemas"].reverse(), "expected the oldest first", id="order"),
    ],
)
def test_a_slip_in_the_data_is_told(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _version_matrix.parse(changed(change))


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ([">=1.33,<1.37"], "1.33 to 1.36"),
        (["==1.36.*"], "1.36"),
        ([">=2.3.0,<2.4", ">=2.2.0,<2.3"], "2.3 or 2.2"),
        ([">=1.7.28,<1.8"], "1.7.28 and later of 1.7"),
        ([">=1.4.2"], "1.4.2 and later"),
        (["<1.6"], "before 1.6"),
        ([">=0"], "any"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ranges_for_people(ranges: list[str], text: str) -> None:
    assert _version_matrix._spoken(map(SpecifierSet, ranges)) == text


# Pairs.


def test_the_example_of_the_refused_pair() -> None:
    (finding,) = _version_matrix.pair_findings({"cert_manager": "1.21.1", "kubernetes": "1.37.0"})
    assert (finding.code, finding.severity) == ("version_pair_broken", "error")
    assert finding.subject == "cert-manager 1.21.1 with Kubernetes 1.37.0"
    assert finding.found == "no release before 1.22 supports Kubernetes 1.37; upstream's list ends at 1.36"
    assert finding.hint == (
        "Kubernetes 1.33 to 1.36 works with cert-manager 1.21.1; no cert-manager is known to work with Kubernetes "
        "1.37.0. See https://cert-manager.io/docs/releases/"
    )


@pytest.mark.parametrize(
    ("versions", "code"),
    [
        pytest.param({"kubernetes": "1.36.3", "containerd": "2.3.4"}, "", id="recommended"),
        pytest.param({"containerd": "2.3.4", "kubernetes": "1.36.3"}, "", id="the other way round"),
        pytest.param({"kubernetes": "1.36.3", "containerd": "2.1.9"}, "version_pair_untested", id="an older line"),
        pytest.param({"kubernetes": "1.35.2", "containerd": "2.3.4"}, "version_pair_untested", id="a newer line"),
        pytest.param(
            {"kubernetes": "1.34.2", "containerd": "2.1.2"}, "version_pair_untested", id="too old in its line"
        ),
        pytest.param({"kubernetes": "1.34.2", "containerd": "2.1.3"}, "", id="just new enough in its line"),
        pytest.param(
            {"kubernetes": "1.37.0", "containerd": "2.3.4"}, "version_pair_untested", id="not in the table yet"
        ),
        pytest.param(
            {"kubernetes": "1.36.3", "containerd": "1.7.33"}, "version_pair_untested", id="containerd 1.7 still starts"
        ),
        pytest.param({"kubernetes": "1.38.0", "containerd": "1.7.33"}, "version_pair_broken", id="and then no longer"),
        pytest.param({"kubernetes": "1.26.0", "containerd": "1.5.18"}, "version_pair_broken", id="no CRI v1"),
        pytest.param({"containerd": "2.3.4", "runc": "1.4.3"}, "", id="runc"),
        pytest.param({"containerd": "2.3.4", "runc": "1.3.6"}, "version_pair_untested", id="an older runc"),
        pytest.param({"cert_manager": "1.21.1", "kubernetes": "1.36.3"}, "", id="cert-manager's newest"),
        pytest.param(
            {"cert_manager": "1.21.1", "kubernetes": "1.32.9"}, "version_pair_untested", id="Kubernetes too old for it"
        ),
        pytest.param(
            {"cert_manager": "1.20.2", "kubernetes": "1.36.3"}, "version_pair_untested", id="one minor too new for it"
        ),
        pytest.param(
            {"cert_manager": "1.11.5", "kubernetes": "1.36.3"}, "version_pair_untested", id="years too new for it"
        ),
        pytest.param(
            {"cert_manager": "1.22.0", "kubernetes": "1.37.0"}, "version_pair_untested", id="not released yet"
        ),
        pytest.param(
            {"cert_manager": "1.21.1", "kubernetes": "1.37.0-rc.1"},
            "version_pair_broken",
            id="a candidate of a refused one",
        ),
        pytest.param({"cert_manager": "v1.21.1", "kubernetes": "v1.36.3"}, "", id="a leading v"),
        pytest.param({"arc_legacy": "0.27.6", "kubernetes": "1.36.3"}, "", id="our own runs"),
        pytest.param({"arc_legacy": "0.27.6", "kubernetes": "1.35.2"}, "version_pair_untested", id="nobody's runs"),
        pytest.param({"arc_legacy": "0.27.6", "cert_manager": "0.16.1"}, "version_pair_broken", id="no v1 of its API"),
        pytest.param({"arc_scale_set": "0.14.2", "kubernetes": "1.35.2"}, "", id="scale sets"),
        pytest.param(
            {"arc_scale_set": "0.14.2", "kubernetes": "1.36.3"}, "version_pair_untested", id="scale sets, newer"
        ),
        pytest.param({"python_client": "34.1.0", "kubernetes": "1.36.3"}, "", id="an older client"),
        pytest.param(
            {"python_client": "23.6.0", "kubernetes": "1.36.3"},
            "version_pair_broken",
            id="a client too old for kubernetes.core",
        ),
        pytest.param({"engine": "0.21.8", "kubernetes": "1.99.0"}, "", id="no pair"),
        pytest.param({"cert_manager": "", "kubernetes": "1.37.0"}, "", id="not used"),
        pytest.param({"kubernetes": "1.37.0"}, "", id="alone"),
        pytest.param({}, "", id="nothing"),
        pytest.param({"kubernetes": "newest", "containerd": "2.3.4"}, "variable_invalid", id="no version"),
    ],
)
def test_pairs(versions: dict[str, str], code: str) -> None:
    assert codes(_version_matrix.pair_findings(versions)) == [code] * bool(code)


def test_an_untested_pair_names_what_would_do_on_either_side() -> None:
    (finding,) = _version_matrix.pair_findings({"kubernetes": "1.35.2", "containerd": "2.3.4"})
    assert (
        "containerd 2.2, 2.1.5 and later of 2.1 or 1.7.28 and later of 1.7 works with Kubernetes 1.35.2" in finding.hint
    )
    assert "Kubernetes 1.36 works with containerd 2.3.4" in finding.hint
    (finding,) = _version_matrix.pair_findings({"cert_manager": "1.21.1", "kubernetes": "1.32.9"})
    assert "cert-manager 1.20, 1.19, 1.17 to 1.18, 1.15 to 1.16 or 1.12 works with Kubernetes 1.32.9" in finding.hint


def test_a_version_that_upstream_does_not_name_yet() -> None:
    (finding,) = _version_matrix.pair_findings({"kubernetes": "1.37.0", "containerd": "2.3.4"})
    assert finding.found == "nothing is known about Kubernetes 1.37.0 with containerd 2.3.4"
    assert finding.hint.startswith(
        "no containerd is known to work with Kubernetes 1.37.0; Kubernetes 1.36 works with containerd 2.3.4."
    )


def test_an_unknown_component_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no component docker; its components are: kubernetes, containerd"):
        _version_matrix.pair_findings({"docker": "27.0"})


# Hosts.


@pytest.mark.parametrize(
    ("host", "code"),
    [
        pytest.param({}, "", id="debian 12"),
        pytest.param({"os_version": "13"}, "", id="debian 13"),
        pytest.param({"os": "ubuntu", "os_version": "24.04"}, "", id="ubuntu"),
        pytest.param({"os": "ubuntu", "os_version": "20.04"}, "os_untested", id="an old ubuntu"),
        pytest.param({"os": "rocky", "os_version": "9.6", "kernel": "5.14.0-570.el9.x86_64"}, "", id="rocky 9"),
        pytest.param({"os": "gentoo", "os_version": "2.15"}, "os_untested", id="unknown system"),
        pytest.param({"os_version": ""}, "os_untested", id="testing has no version"),
        pytest.param({"os": "alpine", "os_version": "3.22.1"}, "os_unsupported", id="alpine"),
        pytest.param({"os": "alpine", "os_version": ""}, "os_unsupported", id="alpine edge"),
        pytest.param({"cgroup_version": 1, "systemd": "252"}, "", id="systemd with cgroup v1"),
        pytest.param({"cgroup_version": 1, "systemd": "258"}, "os_unsupported", id="systemd without cgroup v1"),
        pytest.param({"systemd": "258"}, "", id="that systemd on cgroup v2"),
        pytest.param({"kernel": "5.8.0"}, "", id="oldest kernel"),
        pytest.param({"kernel": "5.4.0-200-generic"}, "kernel_too_old", id="too old for cgroup v2"),
        pytest.param({"kernel": "5.4.0-200-generic", "cgroup_version": 1}, "", id="not for cgroup v1"),
        pytest.param(
            {"kernel": "4.18.0-553.el8_10.x86_64", "cgroup_version": 1}, "kernel_too_old", id="too old for anything"
        ),
        pytest.param({"kernel": ""}, "", id="unknown kernel"),
        pytest.param({"os": ""}, "", id="a host that does not answer"),
    ],
)
def test_systems(host: dict[str, Any], code: str) -> None:
    assert codes(_version_matrix.system_findings({"a": {**HOST, **host}}, "1.36.3")) == [code] * bool(code)


@pytest.mark.parametrize("system", ["sles", "opensuse-leap", "arch", "flatcar", "alpine", "nixos", "gentoo"])
def test_a_system_without_a_list_of_packages(system: str) -> None:
    """Error, where the role has nothing to install; a warning only, where somebody gave it a list."""
    host = {**HOST, "os": system, "os_version": "15.6"}
    assert codes(
        _version_matrix.system_findings({"a": {**host, "package_families": ["Debian", "RedHat"]}}, "1.36.3")
    ) == ["os_unsupported"]
    given = {**host, "os_family": "Mine", "package_families": ["Debian", "Mine"]}
    assert "kubernetes_host_packages" not in str(_version_matrix.system_findings({"a": given}, "1.36.3"))


@pytest.mark.parametrize(
    "system", ["debian", "ubuntu", "almalinux", "rocky", "rhel", "centos", "fedora", "ol", "amzn", "raspbian"]
)
def test_systems_of_the_families_with_packages(system: str) -> None:
    host = {**HOST, "os": system, "os_version": "3", "package_families": ["Debian", "RedHat"]}
    assert "kubernetes_host_packages" not in str(_version_matrix.system_findings({"a": host}, "1.36.3"))


def test_the_same_system_is_told_once() -> None:
    hosts = {"a": {**HOST, "kernel": "4.19.0"}, "b": {**HOST, "kernel": "4.19.0"}, "c": HOST, "d": {}}
    (finding,) = _version_matrix.system_findings(hosts, "1.36.3")
    assert finding.subject == "kernel 4.19.0 (a, b)"
    assert finding.expected.startswith("kernel 5.8 or later for Kubernetes 1.36.3")


def test_a_kernel_is_not_judged_without_a_version_of_kubernetes() -> None:
    assert _version_matrix.system_findings({"a": {**HOST, "kernel": "3.10.0"}}, "") == []


# Engines.


def engines(*versions: str, **settings: Any) -> Pool:
    """A pool with engines."""
    return Pool("runner", "runner_nodes", engine={"versions": list(versions), **settings})


@pytest.mark.parametrize(
    ("version", "environment", "config", "verbs", "code"),
    [
        pytest.param("0.21.8", {"HTTPS_PROXY": "x"}, {"logLevel": "info"}, [], "", id="as it should be"),
        pytest.param("0.18.19", {CACHE_CONFIG: "x"}, {"no": 1}, [], "engine_too_old", id="refused by clients"),
        pytest.param("0.19.0", {}, {}, [], "engine_too_old", id="unknown to the collection"),
        pytest.param("0.20.8", {}, {}, [], "engine_too_old", id="just unknown to the collection"),
        pytest.param("0.21.0", {}, {}, [], "", id="the first that is known"),
        pytest.param("latest", {}, {}, [], "variable_invalid", id="no version"),
        pytest.param("0.21.8", {}, {"loglevel": "info"}, [], "engine_config_invalid", id="unknown key"),
        pytest.param("0.21.8", {}, {"gc": {"dagqlCache": {}}}, [], "engine_config_invalid", id="a key that came later"),
        pytest.param("0.21.9", {}, {"gc": {"dagqlCache": {}}}, [], "", id="a key that came then"),
        pytest.param(
            "1.0.0-beta.9", {}, {"gc": {"dagqlCache": {}}}, [], "engine_config_invalid", id="came later in betas too"
        ),
        pytest.param("1.0.0-beta.10", {}, {"gc": {"dagqlCache": {}}}, [], "", id="ten is after nine"),
        pytest.param(
            "0.21.8",
            {},
            {"security": {"insecureRootCapabilities": True}},
            [],
            "engine_jobs_are_root",
            id="jobs are root",
        ),
        pytest.param(
            "0.21.8",
            {},
            {"security": {"insecureRootCapabilities": False}},
            [],
            "",
            id="jobs are not, as is the default",
        ),
        pytest.param("0.21.8", {CACHE_CONFIG: "x"}, {}, [], "engine_setting_unknown", id="shared cache"),
        pytest.param(
            "1.0.0-beta.10",
            {"_EXPERIMENTAL_DAGGER_CACHESERVICE_URL": "x"},
            {},
            [],
            "engine_setting_unknown",
            id="cache service",
        ),
        pytest.param("0.21.8", {}, {}, ["dagger core engine local-cache"], "", id="core"),
        pytest.param("1.0.0-beta.10", {}, {}, ["dagger core engine local-cache"], "", id="core is hidden, and works"),
        pytest.param("0.21.8", {}, {}, ["dagger api query"], "engine_verb_missing", id="a verb that came later"),
        pytest.param("1.0.0-beta.1", {}, {}, ["dagger api query"], "engine_verb_missing", id="not in the first beta"),
        pytest.param("1.0.0-beta.2", {}, {}, ["dagger api query"], "", id="in the second"),
        pytest.param(
            "0.21.8", {}, {}, ["dagger -m core api call engine"], "engine_verb_missing", id="core as a module"
        ),
        pytest.param("1.0.0-beta.10", {}, {}, ["dagger develop"], "engine_verb_missing", id="a verb that went"),
        pytest.param("0.21.8", {}, {}, ["dagger develop", "dagger apiary"], "", id="only whole words"),
    ],
)
def test_engines(
    version: str, environment: dict[str, str], config: dict[str, Any], verbs: list[str], code: str
) -> None:
    assert codes(
        _version_matrix.engine_findings([engines(version, environment=environment, config=config)], verbs)
    ) == [code] * bool(code)


def test_two_engines_are_told_apart_and_what_is_the_same_once() -> None:
    config: dict[str, Any] = {"gc": {"dagqlCache": {}}}
    pool = engines("0.21.8", "1.0.0-beta.10", environment={CACHE_CONFIG: "x"}, config=config)
    findings = _version_matrix.engine_findings([pool], ["dagger api query"])
    assert [finding.subject for finding in findings] == [
        "dagger_engine_config (engine 0.21.8)",
        f"dagger_engine_environment.{CACHE_CONFIG} (engine 0.21.8, engine 1.0.0-beta.10)",
        "dagger api query (engine 0.21.8)",
    ]
    assert "engine.json.gc.dagqlCache is known to engines from 0.21.9 on" in findings[0].found
    assert findings[1].expected == "an engine before 0.21.0"
    assert findings[2].expected == "an engine from 1.0.0-beta.2 on" and findings[2].hint.startswith(
        "use dagger core, dagger call or"
    )


def test_the_pool_whose_jobs_are_root_is_named() -> None:
    rooted = replace(engines("0.21.8", config={"security": {"insecureRootCapabilities": True}}), name="docker")
    (finding,) = _version_matrix.engine_findings([engines("0.21.8"), rooted])
    assert (finding.severity, finding.subject) == (
        "warning",
        "dagger_engine_config.security (engine 0.21.8 of pool docker)",
    )
    assert "jobs of this pool are root of their nodes" in finding.found


def test_no_engines_no_findings() -> None:
    assert _version_matrix.engine_findings([engines(environment={CACHE_CONFIG: "x"}, config={"no": 1})]) == []


def test_an_engine_that_one_pool_sets_up_wrong_is_told_with_the_pool() -> None:
    good, bad = engines("0.21.8"), replace(engines("0.21.8", config={"no": 1}), name="large")
    assert [item.subject for item in _version_matrix.engine_findings([good, bad])] == [
        "dagger_engine_config (engine 0.21.8 of pool large)"
    ]
    assert [item.subject for item in _version_matrix.engine_findings([replace(bad, name="x"), bad])] == [
        "dagger_engine_config (engine 0.21.8)"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            {"filesystem": "100GB", "checkpoint_space": "60%", "checkpoints_keep": 2},
            id="more than half for checkpoints",
        ),
        pytest.param({"filesystem": "lots"}, id="no size"),
        pytest.param({"profile": "none"}, id="no profile"),
    ],
)
def test_what_the_role_would_refuse_of_engine_json_is_a_finding(settings: dict[str, Any]) -> None:
    assert codes(_version_matrix.engine_findings([engines("0.21.8", **settings)])) == ["engine_config_invalid"]


# What runs against what is asked.


def node(api_server: str = "", kubelet: str = "", *engines: str) -> dict[str, Any]:
    return {"api_server": api_server, "kubelet": kubelet, "engines": list(engines)}


@pytest.mark.parametrize(
    ("hosts", "asked", "expected"),
    [
        pytest.param({}, "1.36.3", [], id="no hosts"),
        pytest.param({"cp": node(), "r": node()}, "1.36.3", [], id="nothing runs yet"),
        pytest.param({"cp": node("1.36.3", "1.36.3"), "r": node("", "1.36.3")}, "1.36.3", [], id="as asked"),
        pytest.param({"cp": node("1.36.3", "1.36.3")}, "1.36.1", [], id="an older patch"),
        pytest.param({"cp": node("1.35.2", "1.35.2")}, "1.36.3", ["kubernetes_upgrade_unsupported"], id="one minor on"),
        pytest.param({"cp": node("1.34.2", "1.34.2")}, "1.36.3", ["kubernetes_minor_skipped"], id="one minor skipped"),
        pytest.param({"cp": node("1.36.3", "1.36.3")}, "1.35.2", ["kubernetes_downgrade"], id="one minor back"),
        pytest.param({"r": node("", "1.34.2")}, "1.36.3", ["kubernetes_minor_skipped"], id="only kubelets in sight"),
        pytest.param({"r": node("", "1.36.3")}, "1.35.2", ["kubernetes_downgrade"], id="only kubelets, one back"),
        pytest.param(
            {"cp": node("1.36.3", "1.36.3"), "r": node("", "1.33.1")}, "1.36.3", [], id="kubelet three minors behind"
        ),
        pytest.param(
            {"cp": node("1.36.3", "1.36.3"), "r": node("", "1.32.1")},
            "1.36.3",
            ["kubelet_too_old"],
            id="four minors behind",
        ),
        pytest.param(
            {"cp": node("1.35.2", "1.35.2"), "r": node("", "1.32.1")},
            "1.36.3",
            ["kubernetes_upgrade_unsupported", "kubelet_too_old"],
            id="four, once upgraded",
        ),
        pytest.param(
            {"cp": node("1.35.2", "1.35.2"), "r": node("", "1.36.3")}, "1.35.2", ["kubelet_too_new"], id="kubelet ahead"
        ),
        pytest.param(
            {"cp": node("1.35.2", "1.36.3")},
            "1.36.3",
            ["kubernetes_upgrade_unsupported"],
            id="kubelet replaced before its API server",
        ),
        pytest.param(
            {"a": node("1.36.3"), "b": node("1.35.2"), "r": node("", "1.36.3")},
            "1.36.3",
            ["kubernetes_upgrade_unsupported"],
            id="one of two servers is upgraded",
        ),
        pytest.param({"cp": node("1.34.2", "1.34.2")}, "", [], id="nothing is asked"),
        pytest.param({"cp": node("1.36.0-rc.1", "1.36.0-rc.1")}, "1.36.3", [], id="a candidate runs"),
    ],
)
def test_kubernetes_skew(hosts: dict[str, Any], asked: str, expected: list[str]) -> None:
    assert codes(_version_matrix.skew_findings(hosts, asked, {})) == expected


def test_a_skipped_minor_says_which_one_comes_first_and_names_the_hosts_once() -> None:
    hosts = {"cp-1": node("1.34.2", "1.34.2"), "cp-2": node("1.34.2", "1.34.2"), "runner-1": node("", "1.34.2")}
    (finding,) = _version_matrix.skew_findings(hosts, "1.36.3", {})
    assert finding.subject == "fleet_kubernetes_version (cp-1, cp-2)"
    assert finding.found == "API server 1.34 runs, 1.36 is asked for"
    assert finding.hint.startswith("go by 1.35 first")


@pytest.mark.parametrize(
    ("runs", "hint"),
    [
        ("1.35.2", "bring the kubelets to 1.35 first"),
        ("1.36.3", "reset the host (`kubeadm reset`) and join it again"),
    ],
    ids=["still supported", "no longer"],
)
def test_a_kubelet_that_is_too_old_can_catch_up_while_it_is_supported(runs: str, hint: str) -> None:
    findings = _version_matrix.skew_findings({"cp": node(runs, runs), "r": node("", "1.32.1")}, "1.36.3", {})
    (finding,) = [item for item in findings if item.code == "kubelet_too_old"]
    assert finding.hint.startswith(hint)


@pytest.mark.parametrize(
    ("there", "asked", "told"),
    [
        pytest.param([], ["1.0.0-beta.10"], 0, id="no cache yet"),
        pytest.param(["0.21.8"], ["0.21.8"], 0, id="the same engine"),
        pytest.param(["0.21.8"], ["0.21.9"], 0, id="the same schema"),
        pytest.param(["0.21.8"], ["1.0.0-beta.7"], 0, id="the last beta of the same schema"),
        pytest.param(["0.21.8"], ["1.0.0-beta.8"], 1, id="the first of the next"),
        pytest.param(["0.21.8"], ["1.0.0-beta.10", "1.0.0"], 2, id="two new engines"),
        pytest.param(["1.0.0-beta.10"], ["0.21.8"], 1, id="and back"),
        pytest.param(["0.21.8", "1.0.0-beta.9"], ["1.0.0-beta.10"], 0, id="one of them can be read"),
        pytest.param(["0.20.8"], ["0.21.8"], 1, id="before there were schemas"),
        pytest.param(["lost+found"], ["0.21.8"], 1, id="no version"),
        pytest.param(["0.21.8"], ["latest"], 0, id="asked for no version"),
    ],
)
def test_cache_schemas(there: list[str], asked: list[str], told: int) -> None:
    findings = _version_matrix.skew_findings({"r": node("", "", *there)}, "1.36.3", {"r": asked})
    assert codes(findings) == ["engine_cache_schema"] * told


def test_a_cache_that_cannot_be_read_is_told_once_with_both_versions() -> None:
    hosts = {name: node("", "", "0.21.8") for name in ("r-1", "r-2")}
    (finding,) = _version_matrix.skew_findings(hosts, "1.36.3", {name: ["1.0.0-beta.10"] for name in hosts})
    assert (finding.severity, finding.subject) == ("warning", "dagger_engine_versions: 1.0.0-beta.10 (r-1, r-2)")
    assert finding.found == "there is a cache of engine 0.21.8 (schema 16)"
    assert finding.expected == "a cache of schema 17, which engine 1.0.0-beta.10 reads"
