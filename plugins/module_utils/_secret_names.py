# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which values are secret, by the name that they have. Private to the collection."""

from __future__ import annotations

import re

_WORDS = r"(?:token|secret|passw|passphrase|private_?key|access_?key|api_?key|credential|auth|headers)"
_NAME = re.compile(_WORDS, re.IGNORECASE)
# A value that names a secret of its own: type=s3,secret_access_key=... or Authorization=Bearer ...
_VALUE = re.compile(rf"{_WORDS}\w*\s*=\s*\S", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what has this name is to be shown to nobody."""
    return bool(_NAME.search(name))


def names_a_secret(text: str) -> bool:
    """Whether a text has a `name=value` in it whose name is that of a secret."""
    return bool(_VALUE.search(text))
