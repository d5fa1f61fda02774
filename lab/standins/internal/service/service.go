// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package service is the stand-in of GitHub: the part of its API that the runner controller calls, jobs, and what the lab's own runner speaks.
package service

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Config is who may call and what exists.
type Config struct {
	Token        string   // personal access token
	AppID        string   // app authentication is off without it
	Installation string   //
	AppKey       string   // PEM of the app's key, private or public: requests are checked against it
	Repositories []string // all there are, <owner>/<name>; without any, every repository exists
	Groups       []string // runner groups beside Default
}

// Service answers requests from a state.
type Service struct {
	config Config
	state  *State
	app    *app
	used   atomic.Int64
	tokens tokens
	faults faults
	// How long a listener waits for a message, and a token of scale sets lives.
	patience     time.Duration
	adminSeconds atomic.Int64
}

const rateLimit = 5000

// New makes a service.
func New(config Config, state *State) (*Service, error) {
	application, err := newApp(config)
	service := &Service{config: config, state: state, app: application, patience: 50 * time.Second}
	service.tokens.accept(config.Token)
	service.adminSeconds.Store(3600)
	return service, err
}

// Main is the command line of the service.
func Main(arguments []string) int {
	flags := flag.NewFlagSet("github", flag.ContinueOnError)
	var config Config
	address := flags.String("listen", ":80", "address to serve on")
	directory := flags.String("state", "", "directory for jobs, runners and logs; without it they end with the process")
	flags.StringVar(&config.Token, "token", os.Getenv("GITHUB_STANDIN_TOKEN"), "personal access token that is accepted")
	flags.StringVar(&config.AppID, "app-id", "", "id of an app that may call")
	flags.StringVar(&config.Installation, "app-installation-id", "", "id of its installation")
	groups := flags.String("groups", "", "runner groups beside Default, with commas between")
	keyFile := flags.String("app-key", "", "file with the app's private or public key")
	repositories := flags.String("repositories", "", "repositories that exist, with commas between; all do without it")
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	if *repositories != "" {
		config.Repositories = strings.Split(*repositories, ",")
	}
	if *groups != "" {
		config.Groups = strings.Split(*groups, ",")
	}
	if *keyFile != "" {
		data, err := os.ReadFile(*keyFile)
		if err != nil {
			log.Print(err)
			return 1
		}
		config.AppKey = string(data)
	}
	if config.Token == "" && config.AppID == "" {
		log.Print("nobody could call: give --token (or GITHUB_STANDIN_TOKEN) or --app-id, --app-installation-id and --app-key")
		return 2
	}
	state, err := OpenState(*directory)
	if err != nil {
		log.Print(err)
		return 1
	}
	service, err := New(config, state)
	if err != nil {
		log.Print(err)
		return 1
	}
	log.Printf("GitHub stand-in on %s", *address)
	log.Print(http.ListenAndServe(*address, service.Handler()))
	return 1
}

// Handler routes everything.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	api := s.api()
	mux.Handle("/api/v3/", http.StripPrefix("/api/v3", api)) // as an enterprise server
	mux.Handle("/", api)                                     // as api.github.com
	s.lab(mux)
	s.runners(mux)
	s.scaleSets(mux)
	s.faultsOf(mux)
	s.tokensOf(mux)
	return logged(s.faulty(mux))
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		record := &recorder{answer, http.StatusOK}
		started := time.Now()
		next.ServeHTTP(record, request)
		if !strings.HasPrefix(request.URL.Path, "/_lab/") || record.status >= 400 {
			log.Printf("%s %s %d %s", request.Method, request.URL.Path, record.status, time.Since(started).Round(time.Millisecond))
		}
	})
}

func reply(answer http.ResponseWriter, status int, body any) {
	answer.Header().Set("Content-Type", "application/json; charset=utf-8")
	answer.WriteHeader(status)
	json.NewEncoder(answer).Encode(body)
}

func fail(answer http.ResponseWriter, status int, message string) {
	reply(answer, status, map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

func itoa(number int64) string { return strconv.FormatInt(number, 10) }

func pathID(request *http.Request, name string) int64 {
	number, _ := strconv.ParseInt(request.PathValue(name), 10, 64)
	return number
}

func body(answer http.ResponseWriter, request *http.Request, into any) bool {
	decoder := json.NewDecoder(io.LimitReader(request.Body, 1<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		fail(answer, http.StatusBadRequest, fmt.Sprintf("Problems parsing JSON: %v", err))
		return false
	}
	return true
}

// lab is how a person or the proof queues jobs and reads what became of them.
func (s *Service) lab(mux *http.ServeMux) {
	mux.HandleFunc("GET /_lab/health", func(answer http.ResponseWriter, _ *http.Request) {
		reply(answer, http.StatusOK, map[string]string{"status": "ok", "is": "stand-in of GitHub"})
	})
	mux.HandleFunc("POST /_lab/jobs", func(answer http.ResponseWriter, request *http.Request) {
		var wanted struct {
			Name           string   `json:"name"`
			Repository     string   `json:"repository"`
			Labels         []string `json:"labels"`
			Script         string   `json:"script"`
			TimeoutSeconds int      `json:"timeout_seconds"`
		}
		if !body(answer, request, &wanted) {
			return
		}
		if wanted.Script == "" || !s.repositoryExists(wanted.Repository) {
			fail(answer, http.StatusUnprocessableEntity, fmt.Sprintf("a job needs a script and an existing repository, found %q", wanted.Repository))
			return
		}
		if wanted.TimeoutSeconds == 0 {
			wanted.TimeoutSeconds = 600
		}
		reply(answer, http.StatusCreated, s.state.Enqueue(&Job{
			Name: wanted.Name, Repository: wanted.Repository, Labels: wanted.Labels,
			Script: wanted.Script, TimeoutSeconds: wanted.TimeoutSeconds,
		}))
	})
	mux.HandleFunc("GET /_lab/jobs", func(answer http.ResponseWriter, _ *http.Request) {
		reply(answer, http.StatusOK, s.state.JobsWhere(func(*Job) bool { return true }))
	})
	mux.HandleFunc("GET /_lab/jobs/{id}", func(answer http.ResponseWriter, request *http.Request) {
		jobs := s.state.JobsWhere(func(job *Job) bool { return job.ID == pathID(request, "id") })
		if len(jobs) == 0 {
			fail(answer, http.StatusNotFound, "Not Found")
			return
		}
		reply(answer, http.StatusOK, jobs[0])
	})
	mux.HandleFunc("GET /_lab/jobs/{id}/log", func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Content-Type", "text/plain; charset=utf-8")
		answer.Write(s.state.Log(pathID(request, "id")))
	})
	mux.HandleFunc("POST /_lab/jobs/{id}/cancel", func(answer http.ResponseWriter, request *http.Request) {
		if !s.state.Cancel(pathID(request, "id")) {
			fail(answer, http.StatusConflict, "only a queued job can be cancelled")
			return
		}
		answer.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /_lab/sets", func(answer http.ResponseWriter, request *http.Request) {
		views := []map[string]any{}
		for _, set := range s.state.SetsWhere(func(*ScaleSet) bool { return true }) {
			view := s.view(request, set)
			view["scope"], view["listening"], view["capacity"] = set.Scope, set.Session != nil, set.Capacity
			views = append(views, view)
		}
		reply(answer, http.StatusOK, views)
	})
	mux.HandleFunc("GET /_lab/runners", func(answer http.ResponseWriter, _ *http.Request) {
		reply(answer, http.StatusOK, runnerViews(s.state.RunnersOf("")))
	})
}

// runners is what the lab's own runner speaks; the official one speaks something else.
func (s *Service) runners(mux *http.ServeMux) {
	mux.HandleFunc("POST /_lab/runner/register", func(answer http.ResponseWriter, request *http.Request) {
		var wanted struct {
			Scope     string   `json:"scope"`
			Name      string   `json:"name"`
			Labels    []string `json:"labels"`
			Ephemeral bool     `json:"ephemeral"`
			Token     string   `json:"token"`
		}
		if !body(answer, request, &wanted) {
			return
		}
		if !s.state.Valid(s.state.Tokens, wanted.Token, wanted.Scope) {
			fail(answer, http.StatusUnauthorized, "Bad registration token for "+wanted.Scope)
			return
		}
		labels := []string{"self-hosted", "Linux", "X64"}
		for _, label := range wanted.Labels {
			if label != "" && !strings.EqualFold(label, "self-hosted") {
				labels = append(labels, label)
			}
		}
		runner := s.state.Register(&Runner{
			Name: wanted.Name, Scope: wanted.Scope, Labels: labels, Ephemeral: wanted.Ephemeral, OS: "Linux",
		})
		log.Printf("runner %s registered as %d in %s with %s", runner.Name, runner.ID, runner.Scope, strings.Join(labels, ","))
		reply(answer, http.StatusCreated, map[string]any{"id": runner.ID, "secret": runner.Secret})
	})
	asRunner := func(do func(http.ResponseWriter, *http.Request, *Runner)) http.HandlerFunc {
		return func(answer http.ResponseWriter, request *http.Request) {
			runner := s.state.Seen(bearer(request))
			if runner == nil {
				fail(answer, http.StatusUnauthorized, "the registration of this runner has been deleted")
				return
			}
			do(answer, request, runner)
		}
	}
	mux.HandleFunc("POST /_lab/runner/wait", asRunner(func(answer http.ResponseWriter, request *http.Request, runner *Runner) {
		job := s.state.Wait(runner, request.Context().Done(), 25*time.Second)
		if job == nil {
			answer.WriteHeader(http.StatusNoContent)
			return
		}
		log.Printf("job %d %q goes to %s", job.ID, job.Name, runner.Name)
		reply(answer, http.StatusOK, job)
	}))
	mux.HandleFunc("POST /_lab/runner/log", asRunner(func(answer http.ResponseWriter, request *http.Request, runner *Runner) {
		data, err := io.ReadAll(io.LimitReader(request.Body, 16<<20))
		id := s.state.JobOf(runner)
		if err != nil || id == 0 {
			fail(answer, http.StatusConflict, "no job to log for")
			return
		}
		s.state.SetNode(id, request.Header.Get("Node-Name"))
		s.state.AppendLog(id, data)
		answer.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("POST /_lab/runner/complete", asRunner(func(answer http.ResponseWriter, request *http.Request, runner *Runner) {
		var result struct {
			Conclusion string `json:"conclusion"`
			ExitCode   int    `json:"exit_code"`
		}
		if !body(answer, request, &result) {
			return
		}
		id := s.state.JobOf(runner)
		log.Printf("job %d: %s", id, result.Conclusion)
		s.state.Complete(id, result.Conclusion, result.ExitCode)
		answer.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("POST /_lab/runner/unregister", asRunner(func(answer http.ResponseWriter, request *http.Request, runner *Runner) {
		if _, busy, _ := s.state.Remove(runner.ID, ""); busy {
			fail(answer, http.StatusUnprocessableEntity, "this runner is still running a job")
			return
		}
		answer.WriteHeader(http.StatusNoContent)
	}))
}
