# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images by their content: the digest that fleet_image_digests has for a tag. Pure; private to the collection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._mirror import qualified_image
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._pins import PINS

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[^\s@]+:[\w][\w.-]*")
# Keys of a chart's values, any of which says where an image comes from.
_STATED = ("registry", "repository", "tag", "digest")


@dataclass(frozen=True)
class ChartImage:
    """An image that a chart deploys. `path`: of the values with its repository and its tag.

    `tag`: made of the chart's own version, or of a pin, which is known for the pinned version of the chart alone.
    """

    path: tuple[str, ...]
    name: str
    tag: str


# By the name of the chart: the pin of its version, and its images.
CHARTS: dict[str, tuple[str, tuple[ChartImage, ...]]] = {
    "flannel": (
        "flannel",
        (
            ChartImage(("flannel", "image"), "ghcr.io/flannel-io/flannel", "v{version}"),
            ChartImage(
                ("flannel", "flannel_cni", "image"), "ghcr.io/flannel-io/flannel-cni-plugin", "v{flannel_cni_plugin}"
            ),
        ),
    ),
    "cert-manager": (
        "cert_manager",
        (
            ChartImage(("image",), "quay.io/jetstack/cert-manager-controller", "v{version}"),
            ChartImage(("webhook", "image"), "quay.io/jetstack/cert-manager-webhook", "v{version}"),
            ChartImage(("cainjector", "image"), "quay.io/jetstack/cert-manager-cainjector", "v{version}"),
        ),
    ),
    "actions-runner-controller": (
        "arc_legacy_chart",
        (ChartImage(("image",), "docker.io/summerwind/actions-runner-controller", "v{arc_legacy}"),),
    ),
    "gha-runner-scale-set-controller": (
        "arc_scale_set",
        (ChartImage(("image",), "ghcr.io/actions/gha-runner-scale-set-controller", "{version}"),),
    ),
}


def problems(digests: Mapping[Any, Any]) -> Iterator[tuple[str, str, str]]:
    """Entries that are none: which, what was found and what was expected."""
    for image, digest in digests.items():
        if not _TAGGED.fullmatch(str(image)) or "://" in str(image):
            yield (
                str(image),
                f"the image {image!r}",
                "an image with its tag, as upstream names it, and without a digest",
            )
        if not DIGEST.fullmatch(str(digest)):
            yield str(image), repr(digest), "sha256: and 64 hexadecimal digits in lower case"


def checked(digests: Any) -> dict[str, str]:
    """The digests by image, with the registry written out. ValueError where an entry is none: a typo must not mean "by
    tag".
    """
    if not isinstance(digests, Mapping):
        raise ValueError(f"fleet_image_digests must be a dictionary, found {type(digests).__name__}")
    for image, found, expected in problems(digests):
        raise ValueError(f"fleet_image_digests['{image}']: found {found}, expected {expected}")
    return {qualified_image(str(image)): str(digest) for image, digest in digests.items()}


def usable(digests: Any) -> dict[str, str]:
    """The same without what cannot be used, for those who tell of that elsewhere."""
    try:
        return checked(digests)
    except ValueError:
        return {}


def has_digest(reference: str) -> bool:
    """Whether an image is named by its content."""
    return "@" in reference


def digest_of(reference: str, digests: Mapping[str, str]) -> str:
    """What the fleet's digests say of an image with a tag; empty where they say nothing. `digests`: as checked() gives
    them.
    """
    return digests.get(qualified_image(reference), "")


def with_digest(reference: str, digests: Any) -> str:
    """name:tag@digest where the fleet's digests have the image; as it is where they have not, or where it has one."""
    digest = "" if has_digest(reference) else digest_of(reference, checked(digests))
    return f"{reference}@{digest}" if digest else reference


def without_tag(reference: str) -> str:
    """name@digest, as a container runtime writes it after it read both; as it is where there is no digest."""
    name, at, digest = reference.partition("@")
    if not at:
        return reference
    head, slash, last = qualified_image(name).rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{digest}"


def chart_images(chart: str, version: str, values: Mapping[str, Any]) -> list[tuple[ChartImage, str]]:
    """The images of a chart, by tag, as far as they are known: not those that the user's own values state."""
    pin, images = CHARTS.get(chart, ("", ()))
    known = PINS if version == PINS.get(pin) else {}
    found = []
    for image in images:
        try:
            reference = f"{image.name}:{image.tag.format(**{**known, 'version': version})}"
        except KeyError:
            continue
        section: Any = values
        for key in image.path:
            section = section.get(key) if isinstance(section, Mapping) else None
        if not (isinstance(section, Mapping) and any(section.get(key) for key in _STATED)):
            found.append((image, reference))
    return found


def chart_values(chart: str, version: str, digests: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a chart that name its images by tag and digest. Its templates write name:tag, whatever the tag is."""
    told: dict[str, Any] = {}
    for image, reference in chart_images(chart, version, values):
        pinned = with_digest(reference, digests)
        if has_digest(pinned):
            section = told
            for key in image.path:
                section = section.setdefault(key, {})
            section["tag"] = pinned.removeprefix(f"{image.name}:")
    return told
