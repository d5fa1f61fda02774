// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package client is the stand-in of the dagger command line: what probes and jobs of a fleet call of it.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"runnerfleet.lab/standins/internal/pipeline"
	"runnerfleet.lab/standins/internal/wire"
)

const usage = `dagger (stand-in of the runnerfleet lab). It knows:
  dagger version
  dagger core version
  dagger core engine local-cache prune [--use-default-policy]
  dagger [--progress=plain] [--silent] -c '<pipeline>'`

// RunnerHost is the variable that says where the engine is.
const RunnerHost = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"

// Client runs one command line.
type Client struct {
	Version string
	Host    string
	Stdout  io.Writer
	Stderr  io.Writer
	// How long to try to connect, and how long between two tries: as gRPC does, each is 1.6 times as long as the one before, give or take a
	// fifth. The real one goes on for ten minutes, with a second at first and half a minute at most.
	Patience time.Duration
	First    time.Duration
	Longest  time.Duration
}

// Main is the command line of the dagger binary.
func Main(version string) int {
	client := &Client{
		Version: version, Host: os.Getenv(RunnerHost), Stdout: os.Stdout, Stderr: os.Stderr,
		Patience: 10 * time.Minute, First: time.Second, Longest: 30 * time.Second,
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := client.Do(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	return 0
}

// Do runs the arguments.
func (c *Client) Do(ctx context.Context, arguments []string) error {
	var script string
	var words []string
	for i := 0; i < len(arguments); i++ {
		switch argument := arguments[i]; {
		case argument == "-c" || argument == "--command":
			i++
			if i == len(arguments) {
				return fmt.Errorf("%s needs a pipeline\n%s", argument, usage)
			}
			script = arguments[i]
		case argument == "--progress":
			i++
		case argument == "-s" || argument == "--silent" || argument == "-q" || argument == "--quiet":
			c.Stderr = io.Discard
		case strings.HasPrefix(argument, "--progress="):
		default:
			words = append(words, argument)
		}
	}
	switch command := strings.Join(words, " "); {
	case command == "version" && script == "":
		fmt.Fprintf(c.Stdout, "dagger %s (stand-in) %s/%s\n", c.Version, runtime.GOOS, runtime.GOARCH)
		return nil
	case command == "core version" && script == "":
		conn, engine, err := c.connect(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintln(c.Stdout, engine)
		return nil
	case strings.HasPrefix(command, "core engine local-cache prune") && script == "":
		rest := strings.TrimSpace(strings.TrimPrefix(command, "core engine local-cache prune"))
		switch rest {
		case "":
			return c.prune(ctx, "all")
		case "--use-default-policy":
			return c.prune(ctx, "")
		}
	case command == "" && script != "":
		return c.run(ctx, script)
	}
	return fmt.Errorf("not known: dagger %s\n%s", strings.Join(arguments, " "), usage)
}

func (c *Client) prune(ctx context.Context, what string) error {
	conn, _, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Send(wire.Message{Kind: wire.Prune, Text: what}); err != nil {
		return err
	}
	_, err = c.answer(ctx, conn)
	return err
}

func (c *Client) connect(ctx context.Context) (*wire.Conn, string, error) {
	if c.Host == "" {
		return nil, "", fmt.Errorf("%s is not set: expected unix:///run/dagger/engine.sock of this node's engine "+
			"(the real client would start an engine with docker)", RunnerHost)
	}
	network, target, err := wire.Split(c.Host)
	if err != nil {
		return nil, "", err
	}
	deadline := time.Now().Add(c.Patience)
	for pause := c.First; ; pause = min(pause*16/10, c.Longest) {
		conn, engine, err := c.greet(ctx, network, target)
		if !errors.Is(err, errAway) {
			return conn, engine, err
		}
		wait := pause*8/10 + rand.N(pause*4/10+1)
		if time.Now().Add(wait).After(deadline) {
			return nil, "", fmt.Errorf("no engine at %s after %s: %w", c.Host, c.Patience, err)
		}
		fmt.Fprintf(c.Stderr, "1   : connect: %v, trying again in %s\n", err, wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil, "", ctx.Err()
		case <-time.After(wait):
		}
	}
}

// errAway: nobody is there, or whoever is takes nobody new.
var errAway = errors.New("the engine is away")

func (c *Client) greet(ctx context.Context, network, target string) (*wire.Conn, string, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, network, target)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errAway, err)
	}
	conn := wire.NewConn(raw)
	context.AfterFunc(ctx, func() { conn.Close() })
	if conn.Send(wire.Message{Kind: wire.Hello, Version: c.Version}) != nil {
		conn.Close()
		return nil, "", errAway
	}
	answer, err := conn.Receive()
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", errAway, err)
	case answer.Kind == wire.Failure:
		err = errors.New(answer.Text)
	case answer.Kind == wire.Shutdown:
		err = fmt.Errorf("%w: %s", errAway, answer.Text)
	}
	if err != nil {
		conn.Close()
		return nil, "", err
	}
	return conn, answer.Version, nil
}

// answer waits for the engine's next word. After "shutdown" there is none: the real client stays attached as well, until it or the engine is
// ended. And when its engine dies it says so and hangs, until somebody ends it.
func (c *Client) answer(ctx context.Context, conn *wire.Conn) (wire.Message, error) {
	for {
		message, err := conn.Receive()
		switch {
		case err != nil:
			fmt.Fprintln(c.Stderr, `! Post "http://dagger/query": unexpected EOF`)
			<-ctx.Done()
			return message, ctx.Err()
		case message.Kind == wire.Failure:
			return message, errors.New(message.Text)
		case message.Kind == wire.Shutdown:
			fmt.Fprintln(c.Stderr, "Error:", message.Text)
		default:
			return message, nil
		}
	}
}

func (c *Client) run(ctx context.Context, script string) error {
	parsed, err := pipeline.Parse(script)
	if err != nil {
		return err
	}
	started := time.Now()
	fmt.Fprintln(c.Stderr, "1   : connect")
	conn, engine, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(c.Stderr, "1   : connect to engine %s DONE [%.1fs]\n", engine, time.Since(started).Seconds())
	for index, directory := range parsed.Directory {
		if parsed.Operations[index].Tree, err = c.upload(ctx, conn, directory); err != nil {
			return err
		}
	}
	if err := conn.Send(wire.Message{Kind: wire.Run, Operations: parsed.Operations, Output: parsed.Output}); err != nil {
		return err
	}
	for {
		message, err := c.answer(ctx, conn)
		if err != nil {
			return err
		}
		if message.Kind == wire.Result {
			_, err := c.Stdout.Write(message.Data)
			return err
		}
		c.show(message.Step)
	}
}

func (c *Client) upload(ctx context.Context, conn *wire.Conn, directory string) (string, error) {
	started := time.Now()
	name := fmt.Sprintf("host.directory(path: %q)", directory)
	fmt.Fprintf(c.Stderr, "2   : %s\n", name)
	tree, err := wire.ReadTree(directory)
	if err != nil {
		return "", err
	}
	if err := conn.Send(wire.Message{Kind: wire.Upload, Tree: tree}); err != nil {
		return "", err
	}
	answer, err := c.answer(ctx, conn)
	if err != nil {
		return "", err
	}
	missing := map[string]bool{}
	for _, digest := range answer.Digests {
		missing[digest] = true
	}
	state := "CACHED"
	for _, entry := range tree {
		if entry.Digest == "" || !missing[entry.Digest] {
			continue
		}
		data, err := os.ReadFile(filepath.Join(directory, entry.Path))
		if err != nil {
			return "", err
		}
		if err := conn.Send(wire.Message{Kind: wire.Blob, Digest: entry.Digest, Data: data}); err != nil {
			return "", err
		}
		delete(missing, entry.Digest)
		state = "DONE"
	}
	fmt.Fprintf(c.Stderr, "2   : \x1b[1m%s\x1b[0m \x1b[34m%s\x1b[0m \x1b[2m[%.1fs]\x1b[0m\n", name, state, time.Since(started).Seconds())
	return wire.TreeKey(tree), nil
}

// show writes colours whatever it writes to, as the real one does with --progress=plain.
func (c *Client) show(step wire.Step) {
	number := step.Index + 3
	switch step.State {
	case "started":
		fmt.Fprintf(c.Stderr, "%-4d: \x1b[1m%s\x1b[0m\n", number, step.Name)
	case "output":
		for _, line := range strings.Split(strings.TrimRight(step.Output, "\n"), "\n") {
			fmt.Fprintf(c.Stderr, "%-4d: \x1b[2m[%.1fs]\x1b[0m \x1b[2m|\x1b[0m %s\n", number, step.Seconds, line)
		}
	default:
		state := strings.ToUpper(step.State)
		fmt.Fprintf(c.Stderr, "%-4d: \x1b[1m%s\x1b[0m \x1b[34m%s\x1b[0m \x1b[2m[%.1fs]\x1b[0m\n", number, step.Name, state, step.Seconds)
	}
}
