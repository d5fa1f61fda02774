// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"runnerfleet.lab/standins/internal/wire"
)

// What the real engine's gauge of entries counts: schema and type definitions that stay after the first session, those that each session
// holds on top while it lasts, and a real step.
const (
	baseEntries    = 4325
	sessionEntries = 3560
	stepEntries    = 8
)

// Store is the local cache in the engine's state directory: uploaded files and directories, and the steps that ran.
type Store struct {
	root  string
	lock  *os.File
	db    *database
	kept  bool // what is here was here before this engine
	used  atomic.Bool
	mu    sync.Mutex
	steps map[string]*sync.Mutex
}

// StepResult is what a step left beside its root filesystem.
type StepResult struct {
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	ExitCode int     `json:"exit_code"`
	Seconds  float64 `json:"seconds"`
}

// OpenStore locks the state directory, and drops the whole cache unless the last engine here closed it.
// It takes a moment, and an end of the context within it costs the cache: the real one begins anew where its database cannot be opened.
func OpenStore(ctx context.Context, root string, moment time.Duration) (*Store, error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, err
	}
	path := filepath.Join(root, "dagger-engine.lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("could not lock %s, another engine uses this state directory: %w", path, err)
	}
	store := &Store{root: root, lock: lock, steps: map[string]*sync.Mutex{}}
	select {
	case <-ctx.Done():
	case <-time.After(moment):
	}
	if err := store.keepOrDrop(ctx); err != nil {
		lock.Close()
		return nil, err
	}
	for _, directory := range cached {
		if err := os.MkdirAll(store.path(directory), 0o700); err != nil {
			return nil, err
		}
	}
	return store, os.MkdirAll(store.path("work"), 0o700)
}

var cached = []string{"blobs", "trees", "steps"}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.root, "worker"}, parts...)...)
}

func (s *Store) keepOrDrop(ctx context.Context) error {
	reason, err := s.open(ctx)
	if reason != "" {
		slog.Warn("local cache state invalid; resetting worker and dagql persistence state", "reason", reason, "error", err)
		if s.db != nil {
			if err := s.db.remove(); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(s.path()); err != nil {
			return err
		}
		if reason, err = s.open(ctx); reason != "" {
			return fmt.Errorf("failed to create engine: local cache state still invalid after reset (%s): %w", reason, err)
		}
	}
	return os.RemoveAll(s.path("work"))
}

// open opens the database and takes its mark of a clean stop; the reason why what is here cannot be kept, empty where it can.
func (s *Store) open(ctx context.Context) (reason string, err error) {
	const failed = "dagql_open_failed"
	quiet := context.WithoutCancel(ctx) // a real one fails when it writes, and leaves a database without meta
	if s.db, err = openDatabase(quiet, s.root); err != nil {
		return failed, err
	}
	schema, err := s.db.meta(quiet, "schema_version")
	if err != nil {
		return failed, fmt.Errorf("read schema_version metadata: %w", err)
	}
	clean, err := s.db.meta(quiet, "clean_shutdown")
	if err != nil {
		return failed, fmt.Errorf("read clean_shutdown metadata: %w", err)
	}
	if schema != "" && schema != schemaVersion {
		slog.Warn("dagql persistence store schema version mismatch; wiping and cold-starting", "expected", schemaVersion, "actual", schema)
		return "dagql_schema_mismatch", nil
	}
	if clean != "" && clean != "1" {
		slog.Warn("dagql persistence store marked unclean; wiping and cold-starting", "cleanShutdown", clean)
		return "dagql_unclean_shutdown", nil
	}
	results, err := s.db.results(quiet)
	if err != nil {
		return failed, err
	}
	if clean == "" && s.count() > 0 {
		return failed, errors.New("a worker's state without its results")
	}
	s.kept = clean == "1" && s.count() > 0
	s.used.Store(results > 0)
	if err := s.db.setMeta(ctx, "schema_version", schemaVersion); err != nil {
		return failed, fmt.Errorf("set persistence schema version: %w", err)
	}
	if err := s.db.setMeta(ctx, "clean_shutdown", "0"); err != nil {
		return failed, fmt.Errorf("mark persistence unclean: %w", err)
	}
	return "", nil
}

// Close writes down what is in the cache, and the mark of a clean stop as the very last thing. What goes wrong is told, and nothing comes of
// it: the real engine ends with 0 all the same.
func (s *Store) Close() {
	slog.Info("starting dagql cache close", "hasSQLDB", true, "hasPersistDB", true)
	defer s.lock.Close()
	err := s.sync()
	if err == nil {
		err = s.db.persist(s.Entries(0))
	}
	if err != nil {
		slog.Error("failed to persist dagql cache during close", "err", err)
		s.db.Close()
		slog.Error("dagql cache close exiting with error", "err", err)
		return
	}
	slog.Info("marking dagql cache clean shutdown")
	if err := s.db.setMeta(context.Background(), "clean_shutdown", "1"); err != nil {
		slog.Warn("failed to mark clean shutdown in persistence metadata", "err", err)
	} else {
		slog.Warn("successfully marked clean shutdown in persistence metadata")
	}
	if err := errors.Join(s.db.Close(), s.sync()); err != nil {
		slog.Error("dagql cache close exiting with error", "err", err)
	}
	os.Remove(s.lock.Name())
}

func (s *Store) sync() error {
	directory, err := os.Open(s.root)
	if err != nil {
		return err
	}
	defer directory.Close()
	return syncfs(directory)
}

// Use notes that there was a session: what it leaves stays, whatever is pruned.
func (s *Store) Use() { s.used.Store(true) }

// Entries is the gauge of that name, with so many sessions.
func (s *Store) Entries(sessions int) int {
	entries := stepEntries*s.count() + sessionEntries*sessions
	if s.used.Load() || sessions > 0 {
		entries += baseEntries
	}
	return entries
}

// count is how many steps are cached.
func (s *Store) count() int {
	items, _ := os.ReadDir(s.path("steps"))
	return len(items)
}

// Prune removes every entry.
func (s *Store) Prune() error {
	for _, directory := range cached {
		items, err := os.ReadDir(s.path(directory))
		if err != nil {
			return err
		}
		for _, item := range items {
			if err := os.RemoveAll(s.path(directory, item.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func syncfs(file *os.File) error {
	if _, _, errno := syscall.Syscall(sysSyncfs, file.Fd(), 0, 0); errno != 0 {
		return fmt.Errorf("syncfs: %w", errno)
	}
	return nil
}

// Usage is the bytes of the cache, as the gauge shows them: about twice as much of what came through a restart.
func (s *Store) Usage() (size int64) {
	for _, directory := range cached {
		_ = filepath.WalkDir(s.path(directory), func(path string, item fs.DirEntry, err error) error {
			if err != nil || path == s.path(directory) {
				return nil // removed meanwhile
			}
			if info, err := item.Info(); err == nil {
				if stat, ok := info.Sys().(*syscall.Stat_t); ok {
					size += stat.Blocks * 512
				}
			}
			return nil
		})
	}
	if s.kept {
		size *= 2
	}
	return size
}

// MissingBlobs says which files of a directory are not in the cache.
func (s *Store) MissingBlobs(tree []wire.Entry) []string {
	var missing []string
	seen := map[string]bool{}
	for _, entry := range tree {
		if entry.Digest == "" || seen[entry.Digest] {
			continue
		}
		seen[entry.Digest] = true
		if _, err := os.Stat(s.path("blobs", filepath.Base(entry.Digest))); err != nil {
			missing = append(missing, entry.Digest)
		}
	}
	return missing
}

// PutBlob keeps one file's bytes.
func (s *Store) PutBlob(digest string, data []byte) error {
	if wire.Digest(data) != digest {
		return fmt.Errorf("uploaded bytes are not %s", digest)
	}
	return writeFile(s.path("blobs", digest), data)
}

// PutTree keeps a directory's list.
func (s *Store) PutTree(tree []wire.Entry) (string, error) {
	data, err := json.Marshal(tree)
	if err != nil {
		return "", err
	}
	key := wire.TreeKey(tree)
	return key, writeFile(s.path("trees", key), data)
}

func writeFile(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}

// Checkout lays an uploaded directory out as files.
func (s *Store) Checkout(tree, target string) error {
	data, err := os.ReadFile(s.path("trees", filepath.Base(tree)))
	if err != nil {
		return fmt.Errorf("directory %s was not uploaded: %w", tree, err)
	}
	var entries []wire.Entry
	if err := json.Unmarshal(data, &entries); err != nil {
		return err
	}
	for _, entry := range entries {
		if !filepath.IsLocal(entry.Path) {
			return fmt.Errorf("path %q leaves the directory", entry.Path)
		}
		path := filepath.Join(target, entry.Path)
		switch {
		case entry.Mode.IsDir():
			err = os.MkdirAll(path, entry.Mode.Perm())
		case entry.Mode&fs.ModeSymlink != 0:
			err = os.Symlink(entry.Link, path)
		default:
			err = copyFile(s.path("blobs", filepath.Base(entry.Digest)), path, entry.Mode.Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// LockStep lets one step run once, however many clients want it at the same time.
func (s *Store) LockStep(key string) func() {
	s.mu.Lock()
	lock, found := s.steps[key]
	if !found {
		lock = &sync.Mutex{}
		s.steps[key] = lock
	}
	s.mu.Unlock()
	lock.Lock()
	return lock.Unlock
}

// Step is the result of a step that ran before.
func (s *Store) Step(key string) (StepResult, bool) {
	var result StepResult
	data, err := os.ReadFile(s.path("steps", key, "result.json"))
	return result, err == nil && json.Unmarshal(data, &result) == nil
}

// PutStep keeps a working directory as the result of a step.
func (s *Store) PutStep(key, work string, result StepResult) error {
	data, err := json.Marshal(result)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "result.json"), data, 0o600); err != nil {
		return err
	}
	return os.Rename(work, s.path("steps", key))
}

// Work makes a working directory with the root filesystem of the parent: a step, an uploaded directory or nothing.
func (s *Store) Work(parentStep, parentTree string) (string, error) {
	work, err := os.MkdirTemp(s.path("work"), strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", err
	}
	rootfs := filepath.Join(work, "rootfs")
	if err = os.Mkdir(rootfs, 0o755); err == nil {
		if parentStep != "" {
			err = copyTree(s.path("steps", parentStep, "rootfs"), rootfs)
		} else if parentTree != "" {
			err = s.Checkout(parentTree, rootfs)
		}
	}
	if err != nil {
		os.RemoveAll(work)
	}
	return work, err
}

func copyTree(source, target string) error {
	return filepath.WalkDir(source, func(path string, item fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(source, path)
		info, err := item.Info()
		if err != nil {
			return err
		}
		destination := filepath.Join(target, relative)
		switch {
		case item.IsDir():
			return os.MkdirAll(destination, info.Mode().Perm())
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, destination)
		case info.Mode().IsRegular():
			return copyFile(path, destination, info.Mode().Perm())
		}
		return nil
	})
}

func copyFile(source, target string, mode fs.FileMode) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if closed := to.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(target, mode)
	}
	return err
}
