"""What GitHub says of a credential and of the runners' version, asked of a stand-in on loopback."""

from __future__ import annotations

import base64
import builtins
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github import requests
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._github.requests import Reply, api, version_of
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._preflight.findings import Finding
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import credential_check as _github_check
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github import runners as github
from ansible_collections.runnerfleet.baremetal.plugins.plugin_utils._github.runners import Question
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.unit.plugins.answers import serving

CANARY = "ghp_c4n4ry"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
PUBLIC = "https://api.github.com"
SERVER = "https://ghes.example.org/api/v3"
STOCK = "docker.io/summerwind/actions-runner:v2.335.1-ubuntu-22.04"
POOLS = [{"name": "small", "repository": "example-org/app"}]
REPOSITORY = "/api/v3/repos/example-org/app"
PATH = f"{REPOSITORY}/actions/runners/deprecations/2.335.1"


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def pem(key: Any) -> str:
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return str(key.private_bytes(*plain).decode())


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


# The rules.


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://github.com", PUBLIC),
        ("https://github.com/", PUBLIC),
        ("https://example.ghe.com", "https://api.example.ghe.com"),
        ("https://ghes.example.org/", SERVER),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3"),
        ("github.com", ""),
        ("https://[::1", ""),
        ("", ""),
    ],
)
def test_the_api_of_a_github(url: str, base: str) -> None:
    assert api(url) == base


@pytest.mark.parametrize(
    ("image", "version"),
    [
        (STOCK, "2.335.1"),
        ("ghcr.io/actions/actions-runner:2.338.1", "2.338.1"),
        ("registry.example.org:5000/runner:v2.338.1@sha256:ab", "2.338.1"),
        ("registry.example.org/runner:1.4.0", ""),
        ("registry.example.org/runner:2.4.0", ""),
        ("registry.example.org/runner:2.338.1.7", ""),
        ("registry.example.org/runner:latest", ""),
        ("registry.example.org/runner", ""),
        ("", ""),
    ],
)
def test_the_version_that_an_image_tells(image: str, version: str) -> None:
    assert version_of(image) == version


def test_one_question_for_each_owner_and_version() -> None:
    pools = [
        {"name": "a", "repository": "example-org/app"},
        {"name": "b", "repository": "example-org/app"},
        {"name": "c", "organization": "example-org", "image": "example.org/runner:2.338.1"},
        {"name": "d", "enterprise": "example", "image": "example.org/runner:latest"},
        {"name": "two owners", "organization": "x", "repository": "x/y"},
        {"name": "an address", "repository": "https://github.com/x/y"},
        {"name": "none"},
        "no entry",
    ]
    assert github.questions(pools, STOCK) == [
        Question("enterprises/example", ""),
        Question("orgs/example-org", "2.338.1"),
        Question("repos/example-org/app", "2.335.1", updates=True),
    ]


@pytest.mark.parametrize(
    ("runtime", "registration", "updates", "code", "found"),
    [
        pytest.param(None, None, False, "", "", id="no date is set"),
        pytest.param(40, 300, False, "runner_days_left", "GitHub gives jobs to it for 40 days more", id="time enough"),
        pytest.param(14, 300, False, "runner_days_left", "GitHub gives jobs to it for 14 days more", id="just enough"),
        pytest.param(
            13, 300, False, "runner_deprecates_soon", "GitHub gives jobs to it for 13 days more", id="little time"
        ),
        pytest.param(1, 300, True, "runner_deprecates_soon", "GitHub gives jobs to it for 1 day more", id="a day"),
        pytest.param(-1, 300, False, "runner_deprecated", "GitHub gives no job to it, for 1 day", id="passed"),
        pytest.param(
            -30,
            300,
            True,
            "runner_updates_itself",
            "GitHub gives no job to it, for 30 days: each runner updates",
            id="updates",
        ),
        pytest.param(
            -60, -2, True, "runner_deprecated", "GitHub registers none of it, for 2 days", id="not even registered"
        ),
    ],
)
def test_dates(runtime: int | None, registration: int | None, updates: bool, code: str, found: str) -> None:
    def date(days: int | None) -> str | None:
        return None if days is None else (NOW + timedelta(days=days)).isoformat().replace("+00:00", "Z")

    body = {
        "runner_version": "2.335.1",
        "runtime_deprecates_at": date(runtime),
        "registration_deprecates_at": date(registration),
    }
    told = github.github_findings(Question("orgs/x", "2.335.1", updates), Reply(200, body), PUBLIC, NOW)
    assert codes(told) == ([code] if code else [])
    assert not told or (told[0].subject == "runner 2.335.1" and told[0].found.startswith(found))


def test_dates_of_a_version_that_nobody_knows_are_not_told() -> None:
    body = {"runtime_deprecates_at": "2020-01-01T00:00:00Z", "registration_deprecates_at": None}
    assert github.github_findings(Question("orgs/x", ""), Reply(200, body), PUBLIC, NOW) == []


@pytest.mark.parametrize("date", ["soon", 12, ["2026"]])
def test_an_answer_without_dates_is_told(date: Any) -> None:
    assert codes(
        github.github_findings(Question("orgs/x", "2.335.1"), Reply(200, {"runtime_deprecates_at": date}), PUBLIC, NOW)
    ) == ["github_dates_unknown"]


@pytest.mark.parametrize(
    ("reply", "base", "code", "severity"),
    [
        pytest.param(Reply(401, {}), PUBLIC, "github_credential_refused", "error", id="401"),
        pytest.param(Reply(403, {}), PUBLIC, "github_access_denied", "warning", id="403"),
        pytest.param(Reply(403, {}, limited=True), PUBLIC, "github_dates_unknown", "info", id="403, too many"),
        pytest.param(Reply(429, {}, limited=True), PUBLIC, "github_dates_unknown", "info", id="429"),
        pytest.param(Reply(404, {}), PUBLIC, "github_owner_unknown", "warning", id="404 of GitHub"),
        pytest.param(
            Reply(404, {}),
            "https://api.example.ghe.com",
            "github_owner_unknown",
            "warning",
            id="404 of GitHub with residency",
        ),
        pytest.param(Reply(404, {}), SERVER, "github_dates_unknown", "info", id="404 of an older server"),
        pytest.param(Reply(301, {}), PUBLIC, "github_unreachable", "warning", id="301"),
        pytest.param(Reply(502, {}), PUBLIC, "github_unreachable", "warning", id="502"),
        pytest.param(Reply(0, {}, problem="timed out"), PUBLIC, "github_unreachable", "warning", id="nothing"),
    ],
)
def test_an_answer_that_is_none(reply: Reply, base: str, code: str, severity: str) -> None:
    (told,) = github.github_findings(Question("orgs/x", "2.335.1"), reply, base, NOW)
    assert (told.code, told.severity) == (code, severity)
    assert told.found and told.hint


@pytest.mark.parametrize(
    ("auth", "subject"),
    [
        pytest.param({"token": f"{CANARY}\n"}, ".token", id="a line break"),
        pytest.param({"token": f"{CANARY} x"}, ".token", id="two words"),
        pytest.param({"token": f"{CANARY}\u20ac"}, ".token", id="no ASCII"),
        pytest.param(
            {"app_id": "my app", "installation_id": "2", "private_key": CANARY}, ".app_id", id="a name for the App"
        ),
        pytest.param(
            {"app_id": "1", "installation_id": "\u0662", "private_key": CANARY},
            ".installation_id",
            id="digits of another script",
        ),
        pytest.param({"app_id": "1", "installation_id": "2", "private_key": CANARY}, ".private_key", id="no key"),
        pytest.param(
            {"app_id": 1, "installation_id": 2, "private_key": pem(ec.generate_private_key(ec.SECP256R1()))},
            ".private_key",
            id="of EC",
        ),
    ],
)
def test_what_cannot_be_a_credential_is_told_without_asking_anybody(auth: dict[str, Any], subject: str) -> None:
    (told,) = _github_check.github_findings("http://127.0.0.1:9", auth, POOLS, STOCK, False)
    assert (told.code, told.subject) == ("github_credential_refused", f"runner_controller_github_auth{subject}")
    assert CANARY not in str(told.as_dict()) and "BEGIN" not in str(told.as_dict())


@pytest.mark.parametrize("auth", [{"secret": "github-app"}, {"token": CANARY}])
@pytest.mark.parametrize("url", ["github.com", "", "ftp://example.org", "https://", "https://[::1"])
def test_what_is_no_address_is_told(auth: dict[str, str], url: str) -> None:
    (told,) = _github_check.github_findings(url, auth, POOLS, STOCK, True)
    assert (told.code, told.subject, told.found) == ("variable_invalid", "runner_controller_github_url", repr(url))


# The asking.


class Site:
    """A GitHub: what it answers to a path, and what was asked of it."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, Any]] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()

    def answer(method: str, path: str, authorization: str, _sent: bytes) -> tuple[int, Any, dict[str, str]]:
        found.asked.append((method, path, authorization))
        return *found.answers.get(path, (404, {"message": "Not Found"})), found.headers

    with serving(answer) as found.url:
        yield found


def ask(site: Site, auth: Any = None, pools: Any = None) -> list[Finding]:
    return _github_check.github_findings(
        site.url, auth or {"token": CANARY}, POOLS if pools is None else pools, STOCK, True
    )


def test_a_token_is_sent_in_the_header_and_told_nowhere(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.answers[PATH] = (200, {"runtime_deprecates_at": "2020-01-01T00:00:00Z", "registration_deprecates_at": None})
    told = ask(site)
    assert codes(told) == ["runner_updates_itself"]
    assert site.asked == [("GET", path, f"Bearer {CANARY}") for path in (PATH, REPOSITORY)]
    assert CANARY not in str([finding.as_dict() for finding in told]) + "".join(capfd.readouterr())


def test_a_token_that_is_refused(site: Site) -> None:
    site.answers[PATH] = (401, {"message": f"Bad credentials: {CANARY}"})
    (told,) = ask(site, pools=[*POOLS, {"name": "b", "repository": "example-org/zoo"}])
    assert (told.code, told.severity) == ("github_credential_refused", "error")
    assert CANARY not in str(told.as_dict())
    assert len(site.asked) == 1


def test_too_many_requests(site: Site) -> None:
    site.answers[PATH], site.headers = (403, {}), {"X-RateLimit-Remaining": "0"}
    assert codes(ask(site)) == ["github_dates_unknown"]


def test_a_redirect_is_not_followed_with_the_token(site: Site) -> None:
    site.answers[PATH], site.headers = (301, {}), {"Location": f"{site.url}/elsewhere"}
    assert codes(ask(site)) == ["github_unreachable"]
    assert [path for _method, path, _token in site.asked] == [PATH]


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[1]", b""])
def test_a_page_that_is_no_answer_stops_nothing(site: Site, body: bytes) -> None:
    site.answers[PATH] = (200, body)
    assert {finding.severity for finding in ask(site)} <= {"warning", "info"}


def test_each_owner_once_and_a_date_once(site: Site) -> None:
    body = {"runtime_deprecates_at": "2020-01-01T00:00:00Z", "registration_deprecates_at": "2020-01-01T00:00:00Z"}
    site.answers[PATH] = (200, body)
    site.answers["/api/v3/orgs/example-org/actions/runners/deprecations/2.335.1"] = (200, body)
    told = ask(site, pools=[*POOLS, *POOLS, {"name": "b", "organization": "example-org"}])
    assert codes(told) == ["runner_deprecated"]
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    ("answer", "entry", "told"),
    [
        pytest.param((200, {"private": False}), {}, ["repository_public"], id="public"),
        pytest.param((200, {"private": False}), {"forks": True}, [], id="public, as is stated"),
        pytest.param((200, {"private": True}), {}, [], id="private"),
        pytest.param((200, {"private": "no"}), {}, [], id="nonsense"),
        pytest.param((200, {}), {}, [], id="no word of it"),
        pytest.param((404, {}), {}, [], id="not to be seen"),
        pytest.param((403, {}), {}, [], id="not to be asked"),
        pytest.param((200, b"<html>"), {}, [], id="no answer"),
    ],
)
def test_a_repository_in_which_anybody_may_propose_a_job(
    site: Site, answer: Any, entry: dict[str, Any], told: list[str]
) -> None:
    site.answers[PATH], site.answers[REPOSITORY] = (
        (200, {"runtime_deprecates_at": None, "registration_deprecates_at": None}),
        answer,
    )
    found = ask(site, pools=[{**POOLS[0], **entry}])
    assert codes(found) == told
    assert all(finding.severity == "warning" and "repos/example-org/app" in finding.subject for finding in found)


def test_nothing_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (told,) = _github_check.github_findings(f"http://127.0.0.1:{port}", {"token": CANARY}, POOLS, STOCK, True)
    assert (told.code, told.severity) == ("github_unreachable", "warning")
    assert "refused" in told.found and "preflight_github_check: false" in told.hint


def test_who_does_not_answer_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        pools = [{"name": str(number), "repository": f"example-org/app{number}"} for number in range(50)]
        started = datetime.now(UTC)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert codes(_github_check.github_findings(url, {"token": CANARY}, pools, STOCK, True)) == [
            "github_unreachable"
        ]
        assert datetime.now(UTC) - started < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("auth", "pools"),
    [({"secret": "github-app"}, POOLS), ({"token": CANARY}, []), ({"token": CANARY}, None), ({"token": CANARY}, "x")],
)
def test_nobody_is_asked_without_a_credential_or_an_owner(site: Site, auth: Any, pools: Any) -> None:
    assert _github_check.github_findings(site.url, auth, pools, STOCK, True) == []
    assert _github_check.github_findings(site.url, {"token": CANARY}, POOLS, STOCK, False) == []
    assert site.asked == []


def test_an_app_signs_and_asks_with_the_token_of_its_installation(site: Site, key: rsa.RSAPrivateKey) -> None:
    site.answers["/api/v3/app/installations/5678/access_tokens"] = (201, {"token": "ghs_session"})
    site.answers[PATH] = (200, {"runtime_deprecates_at": None, "registration_deprecates_at": None})
    assert ask(site, {"app_id": 1234, "installation_id": "5678", "private_key": pem(key), "token": None}) == []
    (method, _path, signed), (_get, _deprecations, used), *_repository = site.asked
    assert (method, used) == ("POST", "Bearer ghs_session")
    head, claims, signature = signed.removeprefix("Bearer ").split(".")

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    key.public_key().verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    told = json.loads(decoded(claims))
    assert told["iss"] == "1234" and told["exp"] - told["iat"] <= 600


@pytest.mark.parametrize(
    ("status", "body", "code", "subject"),
    [
        (401, {}, "github_credential_refused", "runner_controller_github_auth"),
        (404, {}, "github_credential_refused", "runner_controller_github_auth.installation_id"),
        (403, {}, "github_access_denied", "runner_controller_github_auth"),
        (201, {}, "github_access_denied", "runner_controller_github_auth"),
        (500, {}, "github_unreachable", "runner_controller_github_url"),
    ],
)
def test_an_app_that_gets_no_token(
    site: Site, key: rsa.RSAPrivateKey, status: int, body: Any, code: str, subject: str
) -> None:
    site.answers["/api/v3/app/installations/2/access_tokens"] = (status, body)
    (told,) = ask(site, {"app_id": "1", "installation_id": "2", "private_key": pem(key)})
    assert told.code == code and told.subject.split()[0] == subject
    assert len(site.asked) == 1


FORMATS = {"PKCS1": "TraditionalOpenSSL", "PKCS8": "PKCS8"}


def written(key: rsa.RSAPrivateKey, kind: str) -> str:
    """The key in PEM of that kind."""
    form = getattr(serialization.PrivateFormat, FORMATS[kind])
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"], ids=["LF", "CRLF", "blanks"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_key_as_people_have_it(site: Site, key: rsa.RSAPrivateKey, kind: str, end: str) -> None:
    site.answers["/api/v3/app/installations/2/access_tokens"] = (201, {"token": "ghs_session"})
    site.answers[PATH] = (200, {"runtime_deprecates_at": None, "registration_deprecates_at": None})
    text = written(key, kind).replace("\n", end)
    assert ask(site, {"app_id": "1", "installation_id": "2", "private_key": text}) == []
    assert site.asked[1][2] == "Bearer ghs_session"


@pytest.mark.parametrize("between", ["\\n", " ", ""], ids=["as two letters", "as blanks", "not at all"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_key_on_one_line_says_what_to_do(site: Site, key: rsa.RSAPrivateKey, kind: str, between: str) -> None:
    text = written(key, kind).replace("\n", between)
    (told,) = ask(site, {"app_id": "1", "installation_id": "2", "private_key": text})
    assert (told.code, told.subject) == ("github_credential_refused", "runner_controller_github_auth.private_key")
    assert "one line" in told.found and "private_key: |" in told.hint
    assert site.asked == [] and text[60:90] not in str(told.as_dict())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param({"message": "Bad credentials"}, ": Bad credentials", id="its reason"),
        pytest.param(
            {"message": f"{CANARY} is none,\x1b[31m nor\n eyJab.c"}, ": ... is none, [31m nor ...", id="a token"
        ),
        pytest.param({"message": "x" * 999}, f": {'x' * 197}...", id="a long one"),
        pytest.param({"message": None}, "", id="nothing"),
        pytest.param([], "", id="no mapping"),
        pytest.param(b"<html>", "", id="a page"),
        pytest.param(b"\xff", "", id="no text"),
    ],
)
def test_github_s_own_reason_is_told(site: Site, body: Any, reason: str) -> None:
    site.answers[PATH] = (401, body)
    (told,) = ask(site)
    assert told.found == f"a credential that GitHub does not take (HTTP 401{reason})"


# Scale sets.

OWN = {"name": "large", "organization": "example-org", "credential": {"token": "ghp_own"}}
OWN_PATH = "/api/v3/orgs/example-org/actions/runners/deprecations/2.335.1"


def ask_sets(site: Site, common: Any, pools: Any, ask: bool = True) -> list[Finding]:
    return _github_check.scale_set_findings(site.url, common, "runner_pools_github_auth", pools, STOCK, ask)


def test_each_scale_set_is_asked_for_with_its_own_credential(site: Site) -> None:
    fine = {"runtime_deprecates_at": None, "registration_deprecates_at": None}
    site.answers[PATH], site.answers[OWN_PATH] = (200, fine), (401, {"message": "Bad credentials"})
    (told,) = ask_sets(site, {"token": CANARY}, [*POOLS, OWN])
    assert (told.code, told.subject) == ("github_credential_refused", "runner_pools_pools: large.credential")
    assert "Bad credentials" in told.found and "ghp_own" not in str(told.as_dict())
    asked = {path: token for _method, path, token in site.asked}
    assert (asked[PATH], asked[OWN_PATH]) == (f"Bearer {CANARY}", "Bearer ghp_own")


def test_the_common_credential_is_named_by_its_variable(site: Site) -> None:
    site.answers[PATH] = (403, {"message": "Resource not accessible by personal access token"})
    (told,) = ask_sets(site, {"token": CANARY}, POOLS)
    assert (told.code, told.subject) == ("github_access_denied", "runner_pools_github_auth at repos/example-org/app")
    assert told.found.startswith("HTTP 403: Resource not accessible")


@pytest.mark.parametrize(
    ("common", "pools", "asked"),
    [
        pytest.param({"token": CANARY}, [OWN], ["Bearer ghp_own"], id="a common one that nobody uses"),
        pytest.param({"secret": "theirs"}, [*POOLS, OWN], ["Bearer ghp_own"], id="a common one in a Secret"),
        pytest.param({}, [*POOLS, OWN], ["Bearer ghp_own"], id="no common one"),
        pytest.param({"token": "a", "app_id": 1}, [], [], id="two at once, which is told elsewhere"),
        pytest.param({"token": CANARY}, [{**OWN, "credential": {"secret": "x"}}], [], id="its own in a Secret"),
    ],
)
def test_which_credentials_are_tried(site: Site, common: Any, pools: Any, asked: list[str]) -> None:
    site.answers[OWN_PATH] = (200, {"runtime_deprecates_at": None, "registration_deprecates_at": None})
    assert ask_sets(site, common, pools) == []
    assert [token for _method, _path, token in site.asked] == asked


def test_a_key_of_an_entry_is_judged_without_asking(site: Site, key: rsa.RSAPrivateKey) -> None:
    auth = {"app_id": 1, "installation_id": 2, "private_key": pem(key).replace("\n", "\\n")}
    (told,) = ask_sets(site, {"token": CANARY}, [{**OWN, "credential": auth}], ask=False)
    assert told.subject == "runner_pools_pools: large.credential.private_key"
    assert site.asked == []


def test_a_github_that_does_not_answer_is_waited_for_once_over_all_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        pools = [{**OWN, "name": str(number)} for number in range(50)]
        started = datetime.now(UTC)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        told = _github_check.scale_set_findings(url, {}, "runner_pools_github_auth", pools, STOCK, True)
        assert codes(told) == ["github_unreachable"]
        assert datetime.now(UTC) - started < timedelta(seconds=2)


def test_an_app_without_the_package_that_signs(
    site: Site, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return really(name, *arguments, **more)

    text = pem(key)
    monkeypatch.setattr(builtins, "__import__", without)
    (told,) = ask(site, {"app_id": "1", "installation_id": "2", "private_key": text})
    assert (told.code, told.severity, site.asked) == ("github_dates_unknown", "info", [])
