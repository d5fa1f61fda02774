# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Kubernetes API for our modules: one client, its requests on plain dicts, and one exit for its failures.

Plain dicts, since the client library's models of a thousand nodes cost seconds. Private to the collection.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._text import clean

try:
    from kubernetes import config
except ImportError:
    config = None
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

# No fallback to the environment: a variable of somebody's shell would choose the cluster.
CLUSTER_ARGS: dict[str, Any] = {"kubeconfig": {"type": "path", "required": True}, "context": {"type": "str"}}
TIMEOUT = 60  # seconds for one request
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"  # of a list: names without content
NOT_FOUND, CONFLICT, FORBIDDEN, UNAUTHORIZED = 404, 409, 403, 401
GONE = (NOT_FOUND, CONFLICT)  # or another one of the same name
# What the two runner controllers serve.
SCALE_SETS = "/apis/actions.github.com/v1alpha1"
LEGACY_RUNNERS = "/apis/actions.summerwind.dev/v1alpha1"


Query = Optional[Mapping[str, str]]  # evaluated on old Pythons too


class ClusterError(Exception):
    """What a cluster is, and must not be, for the module to go on: the text is the whole message."""


def api_client(module: AnsibleModule) -> Any:
    """An ApiClient of the client library, for the module's kubeconfig and nothing else."""
    if config is None:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=IMPORT_ERROR)
    path = module.params["kubeconfig"]
    try:
        return config.new_client_from_config(config_file=path, context=module.params.get("context"))
    except Exception as error:
        # The library lets through whatever its readers throw, with the text that they could not read.
        found = type(error).__name__
        module.fail_json(
            msg=f"kubeconfig {path}: found {found} while reading it, expected a kubeconfig. Correct fleet_kubeconfig"
        )


def status(error: BaseException) -> int:
    """The HTTP status of a refusal, 0 where the API did not answer."""
    found = getattr(error, "status", None)
    return found if isinstance(found, int) else 0


def reason(error: BaseException) -> str:
    """Why a request failed, in one line. Never the body of the answer: it may be a Secret's."""
    if status(error):
        return clean(f"HTTP {status(error)} {getattr(error, 'reason', None) or ''}".strip(), 300)
    return clean(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}", 300)


@contextmanager
def api_errors(module: AnsibleModule, *known: type[Exception], before: str = "", **result: Any) -> Iterator[None]:
    """Fail the module where the API did not answer, or answered with a refusal.

    The client library raises whatever its transport does. `known`: errors beside ClusterError whose text is the whole
    message. `before`: what failed before, and stands first in the message. `result`: more for the module's result.
    """
    try:
        yield
    except Exception as error:
        whole = isinstance(error, (ClusterError, *known)) and not isinstance(error, json.JSONDecodeError)
        told = str(error) if whole else f"the API of the cluster did not answer as expected: {reason(error)}"
        module.fail_json(msg=f"{before}\n{told}".strip(), **result)


class Cluster:
    """Requests to the API of a cluster. `api`: the client library's ApiClient. Paths are those of the API."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def get(self, path: str, query: Query = None, passed: Sequence[int] = (), accept: str = JSON) -> dict[str, Any]:
        """An object, or what else the API has there."""
        return self.call("GET", path, query, accept=accept, passed=passed)

    def items(
        self, path: str, query: Query = None, passed: Sequence[int] = (), accept: str = JSON
    ) -> list[dict[str, Any]]:
        """The items of a list. Their kind is left out by the API."""
        return list(self.get(path, query, passed, accept).get("items") or [])

    def create(self, path: str, body: Any, query: Query = None, passed: Sequence[int] = ()) -> dict[str, Any]:
        """Make an object in the list at this path."""
        return self.call("POST", path, query, body, passed=passed)

    def replace(self, path: str, body: Any, query: Query = None, passed: Sequence[int] = ()) -> dict[str, Any]:
        """Write an object whole."""
        return self.call("PUT", path, query, body, passed=passed)

    def patch(self, path: str, body: Any, query: Query = None, passed: Sequence[int] = ()) -> dict[str, Any]:
        """Merge this into an object."""
        return self.call("PATCH", path, query, body, content=MERGE, passed=passed)

    def apply(self, path: str, body: Any, manager: str, dry: bool = False) -> dict[str, Any]:
        """Own exactly these fields of an object, whoever had them before."""
        query = {"fieldManager": manager, "force": "true", **({"dryRun": "All"} if dry else {})}
        return self.call("PATCH", path, query, body, content=APPLY)

    def delete(self, path: str, body: Any = None, passed: Sequence[int] = ()) -> dict[str, Any]:
        """Delete an object."""
        return self.call("DELETE", path, None, body, passed=passed)

    def call(
        self,
        method: str,
        path: str,
        query: Query = None,
        body: Any = None,
        accept: str = JSON,
        content: str = JSON,
        passed: Sequence[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """One request; nothing for an answer whose status is `passed` over."""
        try:
            kinds = {"Accept": accept, "Content-Type": content}
            answer = self.request(method, path, query, body, {**kinds, **(headers or {})})
        except Exception as error:
            if status(error) in passed:
                return {}
            raise
        return dict(json.loads(bytes(answer.data)))

    def text(self, path: str, query: Query = None, timeout: float = TIMEOUT) -> str:
        """What is no JSON: logs, metrics, what a pod answers."""
        answer = self.request("GET", path, query, headers={"Accept": f"{JSON}, */*"}, timeout=timeout)
        return bytes(answer.data).decode(errors="replace")

    def request(
        self,
        method: str,
        path: str,
        query: Query = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Any:
        """The client library's answer, whose data is not read yet."""
        return self.api.call_api(
            quote(path, safe="/:"),
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": JSON, **(headers or {})},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=timeout,
        )
