// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package runner

import (
	"bytes"
	"context"
	"log"
	"os"
	"sync"
	"time"
)

// stream gathers a job's output between two deliveries to the service, and shows it in the container's own log.
type stream struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (s *stream) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	os.Stdout.Write(data)
	return s.buffer.Write(data)
}

func (s *stream) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := bytes.Clone(s.buffer.Bytes())
	s.buffer.Reset()
	return data
}

// send delivers output every second, also where there is none: that is how the service knows that the runner lives.
func (r *Runner) send(output *stream, finished <-chan struct{}, sent chan<- struct{}) {
	defer close(sent)
	var pending []byte
	deliver := func() {
		pending = append(pending, output.take()...)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := r.call(ctx, "log", pending, nil); err != nil {
			log.Print(err)
			return
		}
		pending = nil
	}
	for {
		select {
		case <-finished:
			deliver()
			return
		case <-time.After(time.Second):
			deliver()
		}
	}
}
