// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package wire is what the engine and its client say to each other on one connection.
//
// The real engine speaks GraphQL and gRPC over the same sockets; nothing in a fleet depends on that, so this is gob.
package wire

import (
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// ShuttingDown is the answer to all work once the engine got its SIGTERM.
const ShuttingDown = "engine is shutting down"

// What a message is.
const (
	Hello    = "hello"    // both: Version, Name
	Upload   = "upload"   // client: Tree; the engine answers Missing with the Digests it lacks
	Missing  = "missing"  // engine: Digests
	Blob     = "blob"     // client: Digest, Data
	Run      = "run"      // client: Operations, Output
	Prune    = "prune"    // client: Text is "all", or empty for what the policies allow
	Progress = "progress" // engine: Step
	Result   = "result"   // engine: Data
	Failure  = "failure"  // engine: Text
	Shutdown = "shutdown" // engine: Text; the connection stays open, as the real one does
)

// Entry is one path of an uploaded directory.
type Entry struct {
	Path   string
	Mode   fs.FileMode
	Link   string
	Digest string
}

// Operation is one function of a pipeline after `container`.
type Operation struct {
	Name string
	Args []string
	Tree string // digest of the uploaded directory, for with-rootfs
}

// Step is news of one operation that the engine carries out.
type Step struct {
	Index   int
	Name    string
	State   string // started, output, done, cached, failed
	Output  string
	Seconds float64
}

// Message is everything that goes over a connection; Kind says which fields count.
type Message struct {
	Kind       string
	Version    string
	Name       string
	Tree       []Entry
	Digest     string
	Digests    []string
	Data       []byte
	Operations []Operation
	Output     string
	Step       Step
	Text       string
}

// Conn sends and receives messages; Send may be called from several goroutines.
type Conn struct {
	raw     net.Conn
	mu      sync.Mutex
	encoder *gob.Encoder
	decoder *gob.Decoder
}

// NewConn wraps a connection.
func NewConn(raw net.Conn) *Conn {
	return &Conn{raw: raw, encoder: gob.NewEncoder(raw), decoder: gob.NewDecoder(raw)}
}

// Send writes one message.
func (c *Conn) Send(message Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.encoder.Encode(message)
}

// Receive reads one message.
func (c *Conn) Receive() (Message, error) {
	var message Message
	err := c.decoder.Decode(&message)
	return message, err
}

// Close closes the connection.
func (c *Conn) Close() error { return c.raw.Close() }

// Digest is the content address of some bytes.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Key is the content address of a list of words, unambiguous about where each begins.
func Key(words ...string) string {
	hash := sha256.New()
	for _, word := range words {
		fmt.Fprintf(hash, "%d:%s;", len(word), word)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// TreeKey is the content address of a directory.
func TreeKey(tree []Entry) string {
	words := []string{"tree"}
	for _, entry := range tree {
		words = append(words, entry.Path, entry.Mode.String(), entry.Link, entry.Digest)
	}
	return Key(words...)
}

// ReadTree lists a directory in a fixed order with the content address of each file.
func ReadTree(root string) ([]Entry, error) {
	var tree []Entry
	err := filepath.WalkDir(root, func(path string, item fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil || relative == "." {
			return err
		}
		info, err := item.Info()
		if err != nil {
			return err
		}
		entry := Entry{Path: filepath.ToSlash(relative), Mode: info.Mode() & (fs.ModeType | fs.ModePerm)}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			entry.Link, err = os.Readlink(path)
		case info.Mode().IsRegular():
			entry.Digest, err = fileDigest(path)
		case !info.IsDir():
			return nil // sockets and devices do not travel
		}
		tree = append(tree, entry)
		return err
	})
	return tree, err
}

func fileDigest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// Split takes an address such as unix:///run/dagger/engine.sock apart for net.Dial and net.Listen.
func Split(address string) (network, target string, err error) {
	switch network, target, _ = strings.Cut(address, "://"); network {
	case "unix", "tcp":
		if target != "" {
			return network, target, nil
		}
	}
	return "", "", fmt.Errorf("address %q: found neither unix://<path> nor tcp://<host>:<port>", address)
}
