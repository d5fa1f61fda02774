// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"runnerfleet.lab/standins/internal/wire"
)

// schemaVersion of the cache on disk: another one means another line of the engine, and its cache is not kept.
const schemaVersion = 16

// Store is the local cache in the engine's state directory: uploaded files and directories, and the steps that ran.
type Store struct {
	root  string
	lock  *os.File
	mu    sync.Mutex
	steps map[string]*sync.Mutex
}

type marker struct {
	CleanShutdown int `json:"clean_shutdown"`
	SchemaVersion int `json:"schema_version"`
}

// StepResult is what a step left beside its root filesystem.
type StepResult struct {
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	ExitCode int     `json:"exit_code"`
	Seconds  float64 `json:"seconds"`
}

// OpenStore locks the state directory, and drops the whole cache unless the last engine here closed it.
func OpenStore(root string) (*Store, error) {
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
	if err := store.keepOrDrop(); err != nil {
		return nil, err
	}
	for _, directory := range []string{"blobs", "trees", "steps", "work"} {
		if err := os.MkdirAll(store.path(directory), 0o700); err != nil {
			return nil, err
		}
	}
	return store, nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.root, "worker"}, parts...)...)
}

func (s *Store) markerPath() string { return filepath.Join(s.root, "clean_shutdown") }

func (s *Store) keepOrDrop() error {
	var last marker
	data, err := os.ReadFile(s.markerPath())
	if err == nil {
		err = json.Unmarshal(data, &last)
	}
	if removed := os.Remove(s.markerPath()); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		return removed
	}
	reason := ""
	switch {
	case err != nil || last.CleanShutdown != 1:
		reason = "unclean_shutdown"
	case last.SchemaVersion != schemaVersion:
		reason = "schema_version"
	}
	size, entries := s.Usage()
	if reason != "" && entries > 0 {
		slog.Warn("removing the whole local cache", "reason", reason, "entries", entries, "bytes", size)
		return os.RemoveAll(s.path())
	}
	if entries > 0 {
		slog.Info("local cache kept", "entries", entries, "bytes", size)
	}
	return os.RemoveAll(s.path("work"))
}

// Close writes the mark of a clean stop, as the very last thing.
func (s *Store) Close() error {
	directory, err := os.Open(s.root)
	if err != nil {
		return err
	}
	defer directory.Close()
	if err := syncfs(directory); err != nil {
		return err
	}
	data, _ := json.Marshal(marker{CleanShutdown: 1, SchemaVersion: schemaVersion})
	if err := os.WriteFile(s.markerPath(), data, 0o600); err != nil {
		return err
	}
	if err := syncfs(directory); err != nil {
		return err
	}
	return s.lock.Close()
}

// Prune removes every entry.
func (s *Store) Prune() error {
	for _, directory := range []string{"steps", "trees", "blobs"} {
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

// Usage is the bytes on disk and the number of entries of the cache.
func (s *Store) Usage() (size int64, entries int) {
	_ = filepath.WalkDir(s.path(), func(path string, item fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if info, err := item.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				size += stat.Blocks * 512
			}
		}
		if strings.Count(strings.TrimPrefix(path, s.path()), "/") == 2 {
			entries++
		}
		return nil
	})
	return size, entries
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
