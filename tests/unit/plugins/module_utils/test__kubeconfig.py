"""Which cluster a kubeconfig speaks of, and that its content is never quoted."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.runnerfleet.baremetal.plugins.module_utils import _kubeconfig
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._cluster.operator import due
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PEM = "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n"


def config(**clusters: dict[str, str]) -> dict[str, Any]:
    """One cluster a name; the last one is the current context's."""
    return {
        "clusters": [{"name": name, "cluster": cluster} for name, cluster in clusters.items()],
        "contexts": [{"name": f"in-{name}", "context": {"cluster": name}} for name in clusters],
        "current-context": f"in-{list(clusters)[-1]}",
    }


def test_the_current_context_decides() -> None:
    data = base64.b64encode(PEM.encode()).decode()
    text = yaml.safe_dump(
        config(first={"server": "https://a"}, second={"server": "https://b", "certificate-authority-data": data})
    )
    assert _kubeconfig.parse(text) == _kubeconfig.KubeconfigCluster("https://b", PEM, 2)
    assert len(_kubeconfig.parse(text).fingerprint) == 64


def test_a_ca_in_a_file_beside_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(PEM)
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config(c={"certificate-authority": "ca.crt"})))
    assert _kubeconfig.read(str(tmp_path / "kubeconfig")).authority == PEM
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(_kubeconfig.KubeconfigError, match="its certificate-authority cannot be read: No such file"):
        _kubeconfig.read(str(tmp_path / "kubeconfig"))


def test_one_without_a_ca_has_no_fingerprint() -> None:
    assert _kubeconfig.parse(yaml.safe_dump(config(c={"server": "https://a"}))).fingerprint == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("kind: Config\n", "no clusters in it", id="none"),
        pytest.param("just text", "no clusters in it", id="text"),
        pytest.param("", "no clusters in it", id="empty"),
        pytest.param(
            yaml.safe_dump({**config(c={}), "current-context": "y"}),
            "its current-context names no cluster",
            id="context",
        ),
        pytest.param("clusters: [a]", "its clusters are no list of clusters", id="strings"),
        pytest.param(yaml.safe_dump({**config(c={}), "contexts": 1}), "its contexts are no list", id="number"),
        pytest.param("token: S3CRET: S3CRET2: x", "mapping values are not allowed here in line 1", id="no YAML"),
        pytest.param(
            "users: [{user: {token: 'S3CRET}}]", "found unexpected end of stream in line", id="a broken quote"
        ),
        pytest.param(yaml.safe_dump(config(c={"certificate-authority-data": "%%"})), "no base64", id="no base64"),
        pytest.param("\x00S3CRET", "no YAML", id="control characters"),
    ],
)
def test_what_is_wrong_is_said_without_its_content(text: str, found: str) -> None:
    with pytest.raises(_kubeconfig.KubeconfigError) as error:
        assert _kubeconfig.parse(text).fingerprint
    assert found in str(error.value) and "S3CRET" not in str(error.value)


WORDS = st.text(max_size=8) | st.integers() | st.none() | st.booleans()
TREES = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"clusters": TREES, "contexts": TREES, "current-context": TREES}))
def test_whatever_it_holds_it_is_read_or_refused(content: dict[str, Any]) -> None:
    with contextlib.suppress(_kubeconfig.KubeconfigError):
        assert len(_kubeconfig.parse(yaml.safe_dump(content)).fingerprint) in (0, 64)


@given(st.binary(max_size=80))
def test_whatever_the_file_holds(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("k") / "kubeconfig"
    path.write_bytes(content)
    with pytest.raises(_kubeconfig.KubeconfigError):
        _kubeconfig.read(str(path))


def admin(**changes: Any) -> dict[str, Any]:
    """What kubeadm writes, with more in it than it should have."""
    ca = base64.b64encode(PEM.encode()).decode()
    pair = {
        "client-certificate-data": ca,
        "client-key-data": base64.b64encode(PEM.replace("CERTIFICATE", "RSA PRIVATE KEY").encode()).decode(),
    }
    given = config(
        kubernetes={"server": "https://192.0.2.11:6443", "certificate-authority-data": ca, "proxy-url": "http://evil"}
    )
    given["contexts"][0]["context"]["user"] = "admin"
    given["users"] = [{"name": "admin", "user": {**pair, "exec": {"command": "touch"}, "tokenFile": "/etc/shadow"}}]
    given["users"][0]["user"].update(changes.pop("user", {}))
    given["clusters"][0]["cluster"].update(changes.pop("cluster", {}))
    return {**given, **changes}


def test_a_kubeconfig_from_a_node_is_made_anew() -> None:
    found = yaml.safe_load(_kubeconfig.rebuilt(yaml.safe_dump(admin())))
    assert set(found["clusters"][0]["cluster"]) == {"server", "certificate-authority-data"}
    assert set(found["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    assert _kubeconfig.parse(yaml.safe_dump(found)) == _kubeconfig.KubeconfigCluster("https://192.0.2.11:6443", PEM, 1)
    assert _kubeconfig.rebuilt(yaml.safe_dump(found)) == yaml.safe_dump(found, sort_keys=False)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(admin(user={"client-key-data": None, "client-key": "/root/key"}), id="a key in a file"),
        pytest.param(admin(user={"client-certificate-data": "!exec"}), id="no base64"),
        pytest.param(admin(user={"client-key-data": base64.b64encode(b"touch").decode()}), id="no PEM"),
        pytest.param(admin(users=[]), id="no user"),
        pytest.param(admin(cluster={"server": "http://192.0.2.11:6443"}), id="without TLS"),
        pytest.param(admin(cluster={"server": "https://u:p@192.0.2.11"}), id="a password in the address"),
        pytest.param(admin(cluster={"certificate-authority-data": ""}), id="no CA"),
    ],
)
def test_one_that_is_not_as_kubeadm_writes_it_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(_kubeconfig.KubeconfigError):
        _kubeconfig.rebuilt(yaml.safe_dump(given))


def signed(name: str, hours: float) -> str:
    """A kubeconfig whose user's certificate names somebody, and ends in so many hours."""
    key, end = ec.generate_private_key(ec.SECP256R1()), NOW + timedelta(hours=hours)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
    )
    made = builder.not_valid_before(NOW - timedelta(days=400)).not_valid_after(end).sign(key, hashes.SHA256())
    data = base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
    return yaml.safe_dump(admin(user={"client-certificate-data": data}))


@pytest.mark.parametrize(
    ("name", "hours", "expected"),
    [
        pytest.param("kubernetes-admin", 8000, True, id="the administrator's"),
        pytest.param("runnerfleet", 800, False, id="ours, young"),
        pytest.param("runnerfleet", 700, True, id="ours, in its last third"),
        pytest.param("runnerfleet", -1, True, id="ours, ended"),
        pytest.param("somebody", 1, False, id="somebody else's"),
    ],
)
def test_when_a_kubeconfig_is_made_anew(tmp_path: Path, name: str, hours: float, expected: bool) -> None:
    (tmp_path / "k").write_text(signed(name, hours))
    found, left = _kubeconfig.holder(str(tmp_path / "k"), NOW)
    assert found == name and abs(left - hours) < 0.01
    assert due(found, left, 2160) is expected


def test_a_user_without_a_certificate_is_nobody_we_know(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(yaml.safe_dump(admin(user={"client-certificate-data": None, "token": "S3CRET"})))
    assert _kubeconfig.holder(str(tmp_path / "k"), NOW) == ("", 0.0)
    (tmp_path / "k").write_text(yaml.safe_dump(admin(user={"client-certificate-data": "S3CRET"})))
    with pytest.raises(_kubeconfig.KubeconfigError, match="no base64 of a certificate"):
        _kubeconfig.holder(str(tmp_path / "k"), NOW)
