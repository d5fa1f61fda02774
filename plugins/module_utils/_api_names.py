# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, labels, taints and owners by the rules of the Kubernetes API and of GitHub. No I/O. Private to the collection.

Each function says what was expected where a value is none, and an empty string where it is one.
"""

from __future__ import annotations

import re
from typing import Any

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
MOST = 63

_DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"(?=.{{1,63}}$){_DNS}")
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_DNS}(\.{_DNS})*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_ENVIRONMENT = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,100}")
_ENTERPRISE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RUNNER_LABEL = re.compile(r"[^\s,]{1,256}")


def dns_label(value: Any) -> str:
    """Namespaces, and what becomes part of the name of a pod or of a service."""
    return "" if _DNS_LABEL.fullmatch(str(value)) else "a DNS label: a-z, 0-9 and - inside, at most 63 characters"


def dns_subdomain(value: Any) -> str:
    """Nodes, Secrets and most other objects."""
    text = str(value)
    if _SUBDOMAIN.fullmatch(text) and all(len(part) <= MOST for part in text.split(".")):
        return ""
    return "a DNS name in lower case: a-z, 0-9, - and ., at most 63 characters between dots"


def object_and_label(value: Any) -> str:
    """The name of an object that is a label's value too."""
    problem = dns_subdomain(value)
    return problem or ("" if len(str(value)) <= MOST else f"at most {MOST} characters, since it is a label's value too")


def label_key(value: Any) -> str:
    """Keys of labels, of annotations and of taints."""
    prefix, slash, name = str(value).rpartition("/")
    if _NAME.fullmatch(name) and (not slash or not dns_subdomain(prefix)):
        return ""
    return "[prefix/]name: the name of at most 63 letters, digits, -, _ and ., the prefix a DNS name in lower case"


def label_value(value: Any) -> str:
    """Values of labels and of taints."""
    text = str(value)
    return (
        ""
        if not text or _NAME.fullmatch(text)
        else "a label's value: at most 63 letters, digits, -, _ and ., none of these three at an end"
    )


def effect(value: Any) -> str:
    """What a taint does."""
    return "" if value in EFFECTS else f"one of {', '.join(EFFECTS)}"


def environment(value: Any) -> str:
    """Names of environment variables in a container."""
    return (
        ""
        if _ENVIRONMENT.fullmatch(str(value))
        else "a name of letters, digits, -, _ and . that does not begin with a digit"
    )


def repository(value: Any) -> str:
    """A repository of GitHub, as the runner controller splits it."""
    owner, slash, name = str(value).partition("/")
    if slash and _OWNER.fullmatch(owner) and _REPOSITORY.fullmatch(name):
        return ""
    return "owner/name, and no address"


def organization(value: Any) -> str:
    """The login of an organization."""
    return "" if _OWNER.fullmatch(str(value)) else "the organization's login, such as example-org, and no address"


def enterprise(value: Any) -> str:
    """The slug of an enterprise."""
    return "" if _ENTERPRISE.fullmatch(str(value)) else "the enterprise's slug, such as example-inc, and no address"


def runner_label(value: Any) -> str:
    """What a job names in `runs-on`: the runner takes them as one list with commas."""
    return "" if _RUNNER_LABEL.fullmatch(str(value)) else "a label without blanks and commas, one entry for each label"
