// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runnerfleet.lab/standins/internal/client"
	"runnerfleet.lab/standins/internal/engine"
)

var payload string

// The test's own binary is the first process of a step, as the engine's is; what the step runs is a static program of its own.
func TestMain(m *testing.M) {
	engine.StepMain()
	os.Exit(func() int {
		directory, err := os.MkdirTemp("", "payload")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(directory)
		payload = filepath.Join(directory, "payload")
		build := exec.Command("go", "build", "-o", payload, "./testdata/payload")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			panic(string(text))
		}
		return m.Run()
	}())
}

type fixture struct {
	t       *testing.T
	options engine.Options
	stop    chan os.Signal
	ended   chan error
	rootfs  string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the engine needs root, as the real one does")
	}
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	rootfs := filepath.Join(base, "bb")
	if err := os.MkdirAll(filepath.Join(rootfs, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rootfs, "bin", "test"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("test", filepath.Join(rootfs, "bin", "payload")); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, rootfs: rootfs, options: engine.Options{
		Version: "v0.21.11", Config: filepath.Join(base, "engine.json"), Root: filepath.Join(base, "state"),
		Socket: "unix://" + filepath.Join(base, "run", "engine.sock"), Group: 1001, MetricsInterval: 50 * time.Millisecond,
		Moment: 20 * time.Millisecond,
	}}
	f.start()
	t.Cleanup(func() {
		if f.stop != nil {
			f.end()
		}
	})
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	f.stop, f.ended = make(chan os.Signal, 3), make(chan error, 1)
	stop, ended := f.stop, f.ended
	go func() { ended <- engine.Serve(f.options, stop) }()
	if _, err := f.dagger("core", "version"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) end() {
	f.t.Helper()
	f.stop <- syscall.SIGTERM
	select {
	case err := <-f.ended:
		if err != nil {
			f.t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		f.t.Fatal("the engine did not stop")
	}
	f.stop = nil
}

// database runs statements on the persisted results of an engine that has ended, and gives back a value.
func (f *fixture) database(statement string) (value string) {
	f.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(f.options.Root, "dagql-cache.db"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(statement).Scan(&value); err != nil && !errors.Is(err, sql.ErrNoRows) {
		f.t.Fatal(err)
	}
	return value
}

const clean = "SELECT value FROM meta WHERE key = 'clean_shutdown'"

type output struct{ stdout, progress string }

func (f *fixture) dagger(arguments ...string) (output, error) {
	var stdout, stderr bytes.Buffer
	cli := client.Client{
		Version: "v0.21.11", Host: f.options.Socket, Stdout: &stdout, Stderr: &stderr,
		Patience: 5 * time.Second, First: 20 * time.Millisecond, Longest: time.Second,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := cli.Do(ctx, arguments)
	return output{stdout.String(), plain(stderr.String())}, err
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func plain(text string) string { return colours.ReplaceAllString(text, "") }

func (f *fixture) pipeline(middle string) (output, error) {
	return f.dagger("--progress=plain", "-c", fmt.Sprintf("container | with-rootfs $(host | directory %s) | %s | stdout", f.rootfs, middle))
}

func (f *fixture) must(middle string) output {
	f.t.Helper()
	result, err := f.pipeline(middle)
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", middle, err, result.progress)
	}
	return result
}

func TestSocketAndVersion(t *testing.T) {
	f := newFixture(t)
	result, err := f.dagger("core", "version")
	if err != nil || result.stdout != "v0.21.11\n" {
		t.Errorf("%q %v", result.stdout, err)
	}
	info, err := os.Stat(strings.TrimPrefix(f.options.Socket, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Uid != 0 || stat.Gid != 1001 || info.Mode().Perm() != 0o660 {
		t.Errorf("socket is %d:%d %o", stat.Uid, stat.Gid, info.Mode().Perm())
	}
	second := f.options
	if err := engine.Serve(second, make(chan os.Signal)); err == nil || !strings.Contains(err.Error(), "another engine") {
		t.Errorf("a second engine on the same state: %v", err)
	}
}

func TestSecondRunIsCached(t *testing.T) {
	f := newFixture(t)
	first := f.must("with-exec -- payload")
	second := f.must("with-exec -- payload")
	if first.stdout != second.stdout || first.stdout == "" {
		t.Errorf("not cached: %q and %q", first.stdout, second.stdout)
	}
	if strings.Contains(first.progress, "withExec payload CACHED") || !strings.Contains(second.progress, "withExec payload CACHED") {
		t.Errorf("progress:\n%s\n%s", first.progress, second.progress)
	}
	if other := f.must("with-exec -- payload,env"); other.stdout == first.stdout {
		t.Error("other arguments, and cached")
	}
	if with := f.must("with-env-variable A b | with-exec -- payload,env"); !strings.Contains(with.stdout, "A = b") {
		t.Errorf("environment: %q", with.stdout)
	}
	chain := f.must("with-exec -- payload,device | with-exec -- payload,made")
	if !strings.Contains(chain.stdout, "made true") {
		t.Errorf("second step: %q\n%s", chain.stdout, chain.progress)
	}
	if err := os.WriteFile(filepath.Join(f.rootfs, "more"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if changed := f.must("with-exec -- payload"); changed.stdout == first.stdout {
		t.Error("another directory, and cached")
	}
}

func TestFailureIsNotCached(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		result, err := f.pipeline("with-exec -- payload,fail")
		if err == nil || !strings.Contains(err.Error(), "exit code: 3") || !strings.Contains(err.Error(), "it broke") {
			t.Errorf("got %v", err)
		}
		if strings.Contains(result.progress, "withExec payload fail CACHED") {
			t.Error("a failure was cached")
		}
	}
}

func TestPrune(t *testing.T) {
	f := newFixture(t)
	first := f.must("with-exec -- payload")
	if _, err := f.dagger("core", "engine", "local-cache", "prune", "--use-default-policy"); err != nil {
		t.Fatal(err)
	}
	if kept := f.must("with-exec -- payload"); kept.stdout != first.stdout {
		t.Error("the policies took what they should keep")
	}
	// What is in use stays, and a client that has just left may still count as one.
	waitFor(t, "everything to be pruned", func() bool {
		if _, err := f.dagger("core", "engine", "local-cache", "prune"); err != nil {
			t.Fatal(err)
		}
		return f.must("with-exec -- payload").stdout != first.stdout
	})
}

func TestCleanStopKeepsTheCache(t *testing.T) {
	f := newFixture(t)
	first := f.must("with-exec -- payload")
	f.end()
	f.start()
	if again := f.must("with-exec -- payload"); again.stdout != first.stdout {
		t.Error("the cache went with a clean stop")
	}
}

func TestUncleanStopDropsTheCache(t *testing.T) {
	for name, spoil := range map[string]string{
		"not marked":   "UPDATE meta SET value = '0' WHERE key = 'clean_shutdown'",
		"other schema": "UPDATE meta SET value = '17' WHERE key = 'schema_version'",
		"no mark":      "DELETE FROM meta",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			first := f.must("with-exec -- payload")
			f.end()
			f.database(spoil)
			f.start()
			if again := f.must("with-exec -- payload"); again.stdout == first.stdout {
				t.Error("the cache is still there")
			}
		})
	}
}

func TestMarkerIsGoneWhileTheEngineRuns(t *testing.T) {
	f := newFixture(t)
	f.end()
	if found := f.database(clean); found != "1" {
		t.Fatalf("clean_shutdown is %q", found)
	}
	f.start()
	if found := f.database(clean); found != "0" {
		t.Errorf("a killed engine would look clean: %q", found)
	}
}

func TestResultsArePersistedAtTheStop(t *testing.T) {
	f := newFixture(t)
	f.must("with-exec -- payload")
	count := "SELECT count(*) FROM results"
	if found := f.database(count); found != "0" {
		t.Errorf("%s results while it runs", found)
	}
	f.end()
	if found := f.database(count); found != "4333" {
		t.Errorf("%s results after the stop", found)
	}
}

func TestAStopDuringTheStartDropsTheCache(t *testing.T) {
	f := newFixture(t)
	first := f.must("with-exec -- payload")
	f.end()
	f.options.Moment = 5 * time.Second
	f.stop = make(chan os.Signal, 3)
	f.stop <- syscall.SIGTERM
	if err := engine.Serve(f.options, f.stop); err == nil || !strings.Contains(err.Error(), "still invalid after reset (dagql_open_failed)") {
		t.Errorf("ended with %v", err)
	}
	if found := f.database("SELECT count(*) FROM results"); found != "0" {
		t.Errorf("%s results are left", found)
	}
	f.options.Moment = 0
	f.start()
	if again := f.must("with-exec -- payload"); again.stdout == first.stdout {
		t.Error("the cache is still there")
	}
}

func TestACloseThatFailsEndsWithoutAnErrorAndWithoutTheMark(t *testing.T) {
	f := newFixture(t)
	f.end()
	small := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	f.options.Root = small
	f.start()
	f.end()
	if found := f.database(clean); found != "0" {
		t.Errorf("clean_shutdown is %q", found)
	}
}

func TestTheThirdSignalForcesItOut(t *testing.T) {
	f := newFixture(t)
	network, target, _ := strings.Cut(f.options.Socket, "://")
	held, err := net.Dial(network, target)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	waitFor(t, "the client", func() bool { _, err := f.dagger("core", "version"); return err == nil })
	for range 3 {
		f.stop <- syscall.SIGTERM
	}
	if err := <-f.ended; err == nil {
		t.Error("forced out, and no error")
	}
	f.stop = nil
	if found := f.database(clean); found != "0" {
		t.Errorf("clean_shutdown is %q", found)
	}
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestStopWaitsForAttachedClients(t *testing.T) {
	f := newFixture(t)
	f.measured()
	var progress lockedBuffer
	cli := client.Client{Version: "v0.21.11", Host: f.options.Socket, Stdout: io.Discard, Stderr: &progress, Patience: time.Second, First: time.Second}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	gone := make(chan error, 1)
	script := fmt.Sprintf("container | with-rootfs $(host | directory %s) | with-exec -- payload,sleep | stdout", f.rootfs)
	go func() { gone <- cli.Do(ctx, []string{"-c", script}) }()
	waitFor(t, "the step", func() bool { return strings.Contains(plain(progress.String()), "| ") })
	f.stop <- syscall.SIGTERM
	waitFor(t, "the news", func() bool { return strings.Contains(progress.String(), "engine is shutting down") })
	if _, err := f.dagger("core", "version"); err == nil {
		t.Error("a stopping engine took a new client")
	}
	if found := f.gauge("dagger_connected_clients"); found != 0 {
		t.Errorf("%d clients are on the gauge of an engine that stops", found)
	}
	select {
	case err := <-gone:
		t.Errorf("the client went by itself: %v", err)
	case err := <-f.ended:
		t.Errorf("the engine did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if found := f.database(clean); found != "0" {
		t.Errorf("clean_shutdown is %q while a client is attached", found)
	}
	end()
	select {
	case err := <-f.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the engine still waits")
	}
	f.stop = nil
	if found := f.database(clean); found != "1" {
		t.Errorf("clean_shutdown is %q", found)
	}
}

// measured starts the engine anew, with a page of metrics.
func (f *fixture) measured() {
	f.t.Helper()
	f.end()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.options.MetricsAddress = free.Addr().String()
	free.Close()
	f.start()
}

func (f *fixture) page() string {
	f.t.Helper()
	answer, err := http.Get("http://" + f.options.MetricsAddress + "/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(data)
}

func (f *fixture) gauge(name string) (value int64) {
	f.t.Helper()
	page := f.page()
	for _, line := range strings.Split(page, "\n") {
		if _, err := fmt.Sscanf(line, name+" %d", &value); err == nil {
			return value
		}
	}
	f.t.Fatalf("no %s in:\n%s", name, page)
	return 0
}

func TestMetrics(t *testing.T) {
	f := newFixture(t)
	f.measured()
	if found := f.gauge("dagger_local_cache_total_disk_size_bytes"); found != 0 {
		t.Errorf("an empty cache has %d bytes", found)
	}
	f.must("with-exec -- payload,device")
	const entries = "dagger_local_cache_entries"
	waitFor(t, "entries of the session", func() bool { return f.gauge(entries) > 4325+8 })
	waitFor(t, "the session's entries to go", func() bool { return f.gauge(entries) == 4325+8 })
	for _, gauge := range []string{"dagger_connected_clients", "dagger_local_cache_corrupt_db_reset"} {
		if found := f.gauge(gauge); found != 0 {
			t.Errorf("%s is %d", gauge, found)
		}
	}
	f.gauge("dagger_dagql_cache_entries")
	size := f.gauge("dagger_local_cache_total_disk_size_bytes")
	if size < 4<<20 {
		t.Errorf("cache size is %d", size)
	}
	f.end()
	f.start()
	if found := f.gauge("dagger_local_cache_total_disk_size_bytes"); found < 19*size/10 {
		t.Errorf("%d bytes, and %d after a restart", size, found)
	}
	if found := f.gauge(entries); found%3560 != (4325+8)%3560 {
		t.Errorf("%d entries after a restart", found)
	}
}

func TestAKnockingClientWaitsLongerEachTime(t *testing.T) {
	var stderr bytes.Buffer
	cli := client.Client{
		Version: "v0.21.11", Host: "unix:///nowhere", Stderr: &stderr, Patience: time.Second, First: 10 * time.Millisecond, Longest: time.Minute,
	}
	if err := cli.Do(context.Background(), []string{"core", "version"}); err == nil || !strings.Contains(err.Error(), "no engine at") {
		t.Errorf("got %v", err)
	}
	tries := strings.Count(stderr.String(), "trying again")
	if tries < 6 || tries > 10 {
		t.Errorf("%d tries in a second, from 10 ms on, each 1.6 times as far apart:\n%s", tries, stderr.String())
	}
}

func TestClientWithoutAHost(t *testing.T) {
	cli := client.Client{Version: "v0.21.11", Stdout: io.Discard, Stderr: io.Discard}
	if err := cli.Do(context.Background(), []string{"core", "version"}); err == nil || !strings.Contains(err.Error(), client.RunnerHost) {
		t.Errorf("got %v", err)
	}
}
