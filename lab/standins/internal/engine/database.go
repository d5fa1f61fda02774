// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// schemaVersion of the cache on disk: another one means another line of the engine, and its cache is not kept.
const schemaVersion = "16"

// database is what the real engine writes its results to, at its stop: dagql-cache.db in the state directory.
type database struct {
	path string
	*sql.DB
}

func openDatabase(ctx context.Context, root string) (*database, error) {
	path := filepath.Join(root, "dagql-cache.db")
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path)+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, `
		CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
		CREATE TABLE IF NOT EXISTS results (id INTEGER PRIMARY KEY, call_frame_json TEXT NOT NULL, self_payload BLOB NOT NULL) STRICT;`)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("create persistence schema: %w", err)
	}
	return &database{path, db}, nil
}

// meta is a value of the table of that name, empty where there is none.
func (d *database) meta(ctx context.Context, key string) (string, error) {
	var value string
	err := d.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return value, err
}

func (d *database) setMeta(ctx context.Context, key, value string) error {
	_, err := d.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

// results is how many of them are persisted.
func (d *database) results(ctx context.Context) (int, error) {
	var count int
	err := d.QueryRowContext(ctx, "SELECT count(*) FROM results").Scan(&count)
	return count, err
}

// persist writes all results anew, in one transaction.
func (d *database) persist(count int) error {
	tx, err := d.Begin()
	if err != nil {
		return fmt.Errorf("begin persistence mirror tx: %w", err)
	}
	defer tx.Rollback()
	_, err = tx.Exec(`DELETE FROM results;
		WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1)
		INSERT INTO results SELECT id, '{}', randomblob(256) FROM n WHERE id <= ?1`, count)
	if err != nil {
		return fmt.Errorf("write persistence mirror: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit persistence mirror tx: %w", err)
	}
	return nil
}

func (d *database) remove() error {
	d.Close()
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(d.path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
