// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Fault is an answer that the service gives in place of its own, to requests that match, some times or for some time.
type Fault struct {
	Method   string  `json:"method"` // any, if empty
	Path     string  `json:"path"`   // a regular expression
	Status   int     `json:"status"`
	TypeName string  `json:"type_name"`
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`

	matches *regexp.Regexp
	until   time.Time
}

type faults struct {
	mu   sync.Mutex
	list []*Fault
}

func (f *faults) add(fault *Fault) error {
	matches, err := regexp.Compile(fault.Path)
	if err != nil {
		return err
	}
	fault.matches = matches
	if fault.Seconds > 0 {
		fault.until = time.Now().Add(time.Duration(fault.Seconds * float64(time.Second)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fault)
	return nil
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

// of is the fault that a request meets. Ways of the lab itself are spared, but those of its runners.
func (f *faults) of(request *http.Request) *Fault {
	path := request.URL.Path
	if strings.HasPrefix(path, "/_lab/") && !strings.HasPrefix(path, "/_lab/runner/") {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.list {
		spent := fault.Count <= 0 && fault.until.IsZero() || !fault.until.IsZero() && time.Now().After(fault.until)
		if spent || fault.Method != "" && fault.Method != request.Method || !fault.matches.MatchString(path) {
			continue
		}
		if fault.until.IsZero() {
			fault.Count--
		}
		return fault
	}
	return nil
}

func (s *Service) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if fault := s.faults.of(request); fault != nil {
			told(answer, &Refusal{fault.Status, fault.TypeName, "a fault of the lab"})
			return
		}
		next.ServeHTTP(answer, request)
	})
}

// faultsOf is how a test makes the service fail: POST adds a fault, DELETE ends all of them.
func (s *Service) faultsOf(mux *http.ServeMux) {
	mux.HandleFunc("POST /_lab/faults", func(answer http.ResponseWriter, request *http.Request) {
		fault := &Fault{}
		if !body(answer, request, fault) {
			return
		}
		lasting := fault.Count > 0 || fault.Seconds > 0
		if fault.Status == 0 || !lasting || s.faults.add(fault) != nil {
			fail(answer, http.StatusUnprocessableEntity, "a fault needs a regular expression for the path, a status, and a count or seconds")
			return
		}
		answer.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /_lab/faults", func(answer http.ResponseWriter, _ *http.Request) {
		s.faults.clear()
		answer.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /_lab/expire", func(answer http.ResponseWriter, request *http.Request) {
		var wanted struct {
			Queue        bool  `json:"queue"`
			Admin        bool  `json:"admin"`
			AdminSeconds int64 `json:"admin_seconds"`
		}
		if !body(answer, request, &wanted) {
			return
		}
		if wanted.Queue {
			s.state.ExpireSessions()
		}
		if wanted.Admin {
			s.state.ExpireAdmins()
		}
		if wanted.AdminSeconds > 0 {
			s.adminSeconds.Store(wanted.AdminSeconds)
		}
		answer.WriteHeader(http.StatusNoContent)
	})
}
