// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"net/http"
	"slices"
	"sync"
)

// tokens are the personal access tokens that are accepted.
type tokens struct {
	mu   sync.Mutex
	list []string
}

func (t *tokens) known(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.list, token)
}

func (t *tokens) accept(token string) {
	if token == "" || t.known(token) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, token)
}

func (t *tokens) revoke(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, func(known string) bool { return known == token })
}

// tokensOf is how a person makes a token and revokes another, as one that rotates them does at GitHub. With a revoked
// token nobody registers any more; whoever has registered goes on.
func (s *Service) tokensOf(mux *http.ServeMux) {
	change := func(do func(string)) http.HandlerFunc {
		return func(answer http.ResponseWriter, request *http.Request) {
			var wanted struct {
				Token string `json:"token"`
			}
			if !body(answer, request, &wanted) {
				return
			}
			if wanted.Token == "" {
				fail(answer, http.StatusUnprocessableEntity, "expected a token")
				return
			}
			do(wanted.Token)
			answer.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("POST /_lab/tokens", change(s.tokens.accept))
	mux.HandleFunc("DELETE /_lab/tokens", change(s.tokens.revoke))
}
