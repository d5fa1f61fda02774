// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package engine is the stand-in of the Dagger engine: the behaviour that a fleet depends on, and a small pipeline to prove it with.
package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Options are the places that an engine uses; the real one has them compiled in, but for the root.
type Options struct {
	Version         string
	Config          string
	Root            string
	Socket          string
	Addresses       []string
	Group           int
	MetricsAddress  string
	MetricsInterval time.Duration
	Moment          time.Duration // that the start takes, in which an end costs the cache
	Rest            time.Duration // that it goes on for once its cache is closed
	Network         string        // its bridge is named after it; none where it is empty
}

// Moment is the variable that says how long a start takes. A real one of an empty cache takes about as long as the default.
const Moment = "_STAND_IN_START"

// Rest is the one that says how long a stop takes after the cache was closed; nothing by default. A real one was seen to take 8 to 20 seconds.
const Rest = "_STAND_IN_STOP"

type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// Main is the command line of the dagger-engine binary.
func Main(version string, arguments []string) int {
	options, err := parse(version, arguments)
	if err == nil {
		stop := make(chan os.Signal, 3)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		err = Serve(options, stop)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dagger-engine:", err)
		return 1
	}
	return 0
}

func parse(version string, arguments []string) (Options, error) {
	options := Options{
		Version: version, Config: "/etc/dagger/engine.json", Socket: "unix:///run/dagger/engine.sock", Moment: 400 * time.Millisecond,
	}
	if moment, err := time.ParseDuration(os.Getenv(Moment)); err == nil {
		options.Moment = moment
	}
	if rest, err := time.ParseDuration(os.Getenv(Rest)); err == nil {
		options.Rest = rest
	}
	flags := flag.NewFlagSet("dagger-engine", flag.ContinueOnError)
	var addresses list
	flags.Var(&addresses, "addr", "listening address, may be given several times")
	group := flags.String("group", "", "group of the socket: a name or a number; the process's own by default")
	flags.StringVar(&options.Network, "network-name", "dagger", "name of the network of steps, which have none here; its bridge stays")
	flags.StringVar(&options.Root, "root", "/var/lib/dagger", "state directory")
	printVersion := flags.Bool("version", false, "print the version")
	// Known to the real engine and without meaning here.
	for _, name := range []string{"debug", "extra-debug", "trace"} {
		flags.Bool(name, false, "no effect")
	}
	for _, name := range []string{
		"config", "debugaddr", "tlscert", "tlskey", "tlscacert", "network-cidr", "oci-max-parallelism", "oci-worker-gc",
		"oci-worker-snapshotter", "oci-cni-pool-size", "oci-cni-config-path", "oci-worker-apparmor-profile", "oci-worker-selinux",
	} {
		flags.String(name, "", "no effect")
	}
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if *printVersion {
		fmt.Println("dagger-engine", version, "(stand-in)")
		os.Exit(0)
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	options.Addresses = addresses
	options.MetricsAddress = os.Getenv("_EXPERIMENTAL_DAGGER_METRICS_ADDR")
	options.MetricsInterval = 5 * time.Minute
	if text := os.Getenv("_EXPERIMENTAL_DAGGER_METRICS_CACHE_UPDATE_INTERVAL"); text != "" {
		if interval, err := time.ParseDuration(text); err == nil {
			options.MetricsInterval = interval
		} else {
			slog.Warn("invalid _EXPERIMENTAL_DAGGER_METRICS_CACHE_UPDATE_INTERVAL, using 5 minutes", "error", err)
		}
	}
	var err error
	options.Group, err = groupID(*group)
	return options, err
}

func groupID(name string) (int, error) {
	if name == "" {
		return os.Getgid(), nil
	}
	if number, err := strconv.Atoi(name); err == nil {
		return number, nil
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(group.Gid)
}

// Serve runs an engine until something comes out of stop.
func Serve(options Options, stop <-chan os.Signal) error {
	config, err := ReadConfig(options.Config)
	if err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: levels[config.LogLevel]})))
	slog.Info("starting dagger engine stand-in", "version", options.Version, "root", options.Root)
	ctx, cancel := context.WithCancelCause(context.Background())
	forced := make(chan error, 1)
	go listen(stop, cancel, forced)
	if options.Network != "" {
		if err := addBridge(options.Network + "0"); err != nil {
			slog.Warn("no bridge", "error", err)
		}
	}
	store, err := OpenStore(ctx, options.Root, options.Moment)
	if err != nil {
		return err
	}
	server := NewServer(options.Version, store)
	if options.MetricsAddress != "" {
		page, err := serveMetrics(options, server, store)
		if err != nil {
			return err
		}
		defer page.Close()
	}
	addresses := options.Addresses
	if !strings.Contains(strings.Join(addresses, " "), options.Socket) {
		addresses = append(addresses, options.Socket)
	}
	for _, address := range addresses {
		if path, isSocket := strings.CutPrefix(address, "unix://"); isSocket {
			if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
				return err
			}
		}
		if err := server.Listen(address, options.Group); err != nil {
			return err
		}
	}
	<-ctx.Done()
	slog.Info("got a signal", "signal", context.Cause(ctx))
	stopped := make(chan struct{})
	go func() {
		server.Stop()
		store.Close()
		time.Sleep(options.Rest)
		close(stopped)
	}()
	select {
	case err := <-forced:
		return err
	case <-stopped:
		slog.Info("stopped")
		return nil
	}
}

// listen stops the engine at the first signal, and forces it out at the third.
func listen(signals <-chan os.Signal, stop context.CancelCauseFunc, forced chan<- error) {
	for count := 1; ; count++ {
		signal, open := <-signals
		if !open {
			return
		}
		stop(errors.New(fmt.Sprint(signal)))
		if count == 3 {
			slog.Error("got 3 SIGTERM/SIGINTs, forcing shutdown")
			forced <- errors.New("forced out")
			return
		}
	}
}

// addBridge adds a link that nothing uses, and that outlives the engine, as a real one's does.
func addBridge(name string) error {
	const addBridge = 0x89a0 // SIOCBRADDBR of linux/sockios.h
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	var text [syscall.IFNAMSIZ]byte
	copy(text[:len(text)-1], name)
	_, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), addBridge, uintptr(unsafe.Pointer(&text)))
	if number != 0 && number != syscall.EEXIST {
		return fmt.Errorf("bridge %s: %w", name, number)
	}
	return nil
}

func serveMetrics(options Options, server *Server, store *Store) (io.Closer, error) {
	listener, err := net.Listen("tcp", options.MetricsAddress)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	var size, entries atomic.Int64
	update := func() {
		size.Store(store.Usage())
		entries.Store(int64(store.Entries(server.Sessions())))
	}
	update()
	go func() {
		for range time.Tick(options.MetricsInterval) {
			update()
		}
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for _, gauge := range []struct {
			name, help string
			value      int64
		}{
			{"dagger_connected_clients", "Number of currently connected clients", server.Connected()},
			{"dagger_dagql_cache_entries", "Number of entries in the dagql cache", entries.Load()},
			{"dagger_local_cache_total_disk_size_bytes", "Total disk space used by the local cache", size.Load()},
			{"dagger_local_cache_entries", "Number of entries in the local cache", entries.Load()},
			{"dagger_local_cache_corrupt_db_reset", "Whether the local cache was reset for a corrupt database", 0},
		} {
			fmt.Fprintf(answer, "# HELP %s %s\n# TYPE %s gauge\n%s %d\n", gauge.name, gauge.help, gauge.name, gauge.name, gauge.value)
		}
	})
	page := &http.Server{Handler: mux}
	go page.Serve(listener)
	return page, nil
}
