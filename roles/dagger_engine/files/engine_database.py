# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine wrote down at its stop: state/dagql-cache.db, SQLite, read while no engine runs. Never written to."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from engine_policy import Persisted

NAME = "dagql-cache.db"


def read(state: Path) -> Persisted | None:
    """The mark of a clean stop and what was persisted; None where there is no database, or no way to read it here.

    Table `meta` has `clean_shutdown`, 1 after a clean stop only; table `results` has a row a result. A damaged one has
    no mark.
    """
    path = state / NAME
    if not path.exists():
        return None
    try:
        import sqlite3
    except ImportError:  # some distributions ship it apart from Python
        return None
    # A database without a journal is read as it is, so that reading leaves no file beside it.
    journal = path.with_name(f"{NAME}-wal")
    still = "" if journal.exists() and journal.stat().st_size else "&immutable=1"
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro{still}", uri=True, timeout=10)
        try:
            row = database.execute("SELECT value FROM meta WHERE key = 'clean_shutdown'").fetchone()
            results = database.execute("SELECT count(*) FROM results").fetchone()[0]
            figures = ("page_count", "freelist_count", "page_size")
            figures = ("page_count", "freelist_count", "page_size")
            pages, unused, size = (int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in figures)
        finally:
            database.close()
    except sqlite3.DatabaseError:
        return Persisted(clean=False)
    return Persisted(row is not None and str(row[0]) == "1", int(results), (pages - unused) * size)
