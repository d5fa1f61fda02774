// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"runnerfleet.lab/standins/internal/wire"
)

// oldestClient that this engine speaks to.
var oldestClient = [3]int{0, 19, 0}

var stepEnvironment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}

// Server serves clients from a store.
type Server struct {
	version string
	store   *Store

	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	stopping  bool
	listeners []net.Listener
	clients   map[*wire.Conn]bool
	attached  sync.WaitGroup
	connected atomic.Int64 // sessions
	leaving   atomic.Int64 // sessions that have ended, and still hold their entries
}

// linger is how long a session's entries stay after it.
const linger = 3 * time.Second

// NewServer makes a server that listens nowhere yet.
func NewServer(version string, store *Store) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{version: version, store: store, ctx: ctx, cancel: cancel, clients: map[*wire.Conn]bool{}}
}

// Listen serves one address, a socket owned by root and the group.
func (s *Server) Listen(address string, group int) error {
	network, target, err := wire.Split(address)
	if err != nil {
		return err
	}
	if network == "unix" {
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	listener, err := net.Listen(network, target)
	if err != nil {
		return err
	}
	if network == "unix" {
		if err := os.Chown(target, 0, group); err != nil {
			return err
		}
		if err := os.Chmod(target, 0o660); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.listeners = append(s.listeners, listener)
	s.mu.Unlock()
	slog.Info("running server", "addr", address)
	go s.accept(listener)
	return nil
}

func (s *Server) accept(listener net.Listener) {
	for {
		raw, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			slog.Error("accept", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		conn := wire.NewConn(raw)
		s.mu.Lock()
		if s.stopping {
			s.mu.Unlock()
			conn.Close()
			continue
		}
		s.clients[conn] = true
		s.attached.Add(1)
		s.mu.Unlock()
		s.connected.Add(1)
		s.store.Use()
		go s.serve(conn)
	}
}

// Connected is what the gauge says. Once the engine stops its sessions are gone, whoever goes on holding a connection.
func (s *Server) Connected() int64 {
	if s.isStopping() {
		return 0
	}
	return s.connected.Load()
}

// Sessions is how many of them hold entries.
func (s *Server) Sessions() int { return int(s.connected.Load() + s.leaving.Load()) }

// Stop ends all work at once, tells attached clients and waits, without a deadline, until each of them is gone.
func (s *Server) Stop() {
	s.mu.Lock()
	s.stopping = true
	for _, listener := range s.listeners {
		listener.Close()
	}
	clients := make([]*wire.Conn, 0, len(s.clients))
	for conn := range s.clients {
		clients = append(clients, conn)
	}
	s.mu.Unlock()
	s.cancel()
	slog.Info("stopping gracefully", "attached_clients", len(clients))
	for _, conn := range clients {
		go conn.Send(wire.Message{Kind: wire.Shutdown, Text: wire.ShuttingDown})
	}
	s.attached.Wait()
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// serve reads until the client closes its side; work runs beside, so that a client that goes takes its work along.
func (s *Server) serve(conn *wire.Conn) {
	ctx, cancel := context.WithCancel(s.ctx)
	var work sync.WaitGroup
	defer func() {
		cancel()
		work.Wait()
		conn.Close()
		s.mu.Lock()
		delete(s.clients, conn)
		s.mu.Unlock()
		s.leaving.Add(1)
		s.connected.Add(-1)
		time.AfterFunc(linger, func() { s.leaving.Add(-1) })
		s.attached.Done()
	}()
	for {
		message, err := conn.Receive()
		if err != nil {
			return
		}
		if s.isStopping() {
			continue // the client has been told
		}
		if message.Kind == wire.Run {
			work.Add(1)
			go func() {
				defer work.Done()
				s.answer(conn, s.run(ctx, conn, message))
			}()
			continue
		}
		s.answer(conn, s.handle(conn, message))
	}
}

// answer sends what went wrong, unless it went wrong because of the stop.
func (s *Server) answer(conn *wire.Conn, err error) {
	if err != nil && !s.isStopping() {
		conn.Send(wire.Message{Kind: wire.Failure, Text: err.Error()})
	}
}

func (s *Server) handle(conn *wire.Conn, message wire.Message) error {
	switch message.Kind {
	case wire.Hello:
		if err := checkClient(message.Version); err != nil {
			return err
		}
		name, _ := os.Hostname()
		return conn.Send(wire.Message{Kind: wire.Hello, Version: s.version, Name: name})
	case wire.Upload:
		missing := s.store.MissingBlobs(message.Tree)
		if _, err := s.store.PutTree(message.Tree); err != nil {
			return err
		}
		return conn.Send(wire.Message{Kind: wire.Missing, Digests: missing})
	case wire.Blob:
		return s.store.PutBlob(message.Digest, message.Data)
	case wire.Prune:
		// What is in use stays. Which entries that are is not known here, so beside another client all of them are.
		if message.Text == "all" && s.connected.Load() == 1 {
			if err := s.store.Prune(); err != nil {
				return err
			}
		}
		if message.Text != "all" {
			// Steps that mounted a cache volume hold it: the policy for volumes frees nothing by itself.
			slog.Info("dagql pruned result", "policy", "type==exec.cachemount", "reclaimedBytes", 0)
		}
		return conn.Send(wire.Message{Kind: wire.Result})
	}
	return fmt.Errorf("unknown message %q", message.Kind)
}

func checkClient(version string) error {
	base, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for index, part := range strings.SplitN(base, ".", 3) {
		number, err := strconv.Atoi(part)
		if err != nil {
			return nil // a development version
		}
		if number != oldestClient[index] {
			if number < oldestClient[index] {
				return fmt.Errorf("incompatible client version %s: the engine wants v0.19.0 or newer", version)
			}
			return nil
		}
	}
	return nil
}

// state is a container on its way through a pipeline.
type state struct {
	key         string
	tree        string // the uploaded directory that it starts from
	step        string // the last step that ran
	environment []string
	last        StepResult
}

func (s *Server) run(ctx context.Context, conn *wire.Conn, message wire.Message) error {
	current := state{key: wire.Key("container"), environment: stepEnvironment}
	for index, operation := range message.Operations {
		switch operation.Name {
		case "with-rootfs":
			current.tree, current.step = operation.Tree, ""
			current.key = wire.Key("rootfs", operation.Tree)
		case "with-env-variable":
			current.environment = append(current.environment[:len(current.environment):len(current.environment)],
				operation.Args[0]+"="+operation.Args[1])
			current.key = wire.Key(append([]string{current.key, "env"}, operation.Args...)...)
		case "with-exec":
			if err := s.exec(ctx, conn, index, &current, operation.Args); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unknown operation %q", operation.Name)
		}
	}
	data := current.last.Stdout
	if message.Output == "stderr" {
		data = current.last.Stderr
	}
	return conn.Send(wire.Message{Kind: wire.Result, Data: []byte(data)})
}

func (s *Server) exec(ctx context.Context, conn *wire.Conn, index int, current *state, arguments []string) error {
	current.key = wire.Key(append([]string{current.key, "exec"}, arguments...)...)
	started := time.Now()
	name := "withExec " + strings.Join(arguments, " ")
	tell := func(status, output string) {
		conn.Send(wire.Message{Kind: wire.Progress, Step: wire.Step{
			Index: index, Name: name, State: status, Output: output, Seconds: time.Since(started).Seconds(),
		}})
	}
	tell("started", "")
	defer s.store.LockStep(current.key)()
	if result, found := s.store.Step(current.key); found {
		current.last, current.step = result, current.key
		tell("cached", "")
		return nil
	}
	work, err := s.store.Work(current.step, current.tree)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	result, err := RunStep(ctx, work+"/rootfs", arguments, current.environment, func(text string) { tell("output", text) })
	if err == nil {
		err = s.store.PutStep(current.key, work, result)
	}
	if err != nil {
		tell("failed", "")
		return err
	}
	current.last, current.step = result, current.key
	tell("done", "")
	return nil
}
