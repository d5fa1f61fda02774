// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// app checks the signed requests of a GitHub app.
type app struct {
	id           string
	installation string
	key          *rsa.PublicKey
}

func newApp(config Config) (*app, error) {
	if config.AppID == "" {
		return nil, nil
	}
	block, _ := pem.Decode([]byte(config.AppKey))
	if block == nil {
		return nil, errors.New("the app's key is not PEM")
	}
	result := &app{id: config.AppID, installation: config.Installation}
	if private, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		result.key = &private.PublicKey
	} else if private, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if key, isRSA := private.(*rsa.PrivateKey); isRSA {
			result.key = &key.PublicKey
		}
	} else if public, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		result.key, _ = public.(*rsa.PublicKey)
	}
	if result.key == nil {
		return nil, errors.New("the app's key is not an RSA key")
	}
	return result, nil
}

// check a token of the form that apps sign themselves: RS256, issued by the app, not expired.
func (a *app) check(token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("a JSON web token could not be decoded")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(a.key, crypto.SHA256, sum[:], signature); err != nil {
		return errors.New("a JSON web token could not be verified with the app's key")
	}
	var claims struct {
		Issuer  any     `json:"iss"`
		Expires float64 `json:"exp"`
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(data, &claims)
	}
	if err != nil {
		return err
	}
	issuer := fmt.Sprint(claims.Issuer)
	if number, isNumber := claims.Issuer.(float64); isNumber {
		issuer = itoa(int64(number))
	}
	if issuer != a.id {
		return fmt.Errorf("integration %s not found", issuer)
	}
	if time.Now().After(time.Unix(int64(claims.Expires), 0)) {
		return errors.New("'Expiration time' claim ('exp') must be a numeric value representing the future time")
	}
	return nil
}

func bearer(request *http.Request) string {
	kind, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	if strings.EqualFold(kind, "bearer") || strings.EqualFold(kind, "token") {
		return token
	}
	_, password, _ := request.BasicAuth()
	return password
}

func (s *Service) repositoryExists(name string) bool {
	owner, repository, _ := strings.Cut(name, "/")
	if owner == "" || repository == "" || strings.Contains(repository, "/") {
		return false
	}
	return len(s.config.Repositories) == 0 ||
		slices.ContainsFunc(s.config.Repositories, func(known string) bool { return strings.EqualFold(known, name) })
}

// api is what the runner controller calls.
func (s *Service) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", s.accessToken)
	mux.HandleFunc("POST /actions/runner-registration", s.registration)
	signedIn := func(pattern string, do http.HandlerFunc) {
		mux.HandleFunc(pattern, func(answer http.ResponseWriter, request *http.Request) {
			token := bearer(request)
			if token == "" || !s.tokens.known(token) && !s.state.Valid(s.state.Sessions, token, "") {
				fail(answer, http.StatusUnauthorized, "Bad credentials")
				return
			}
			used := min(s.used.Add(1), rateLimit)
			answer.Header().Set("X-RateLimit-Limit", strconv.Itoa(rateLimit))
			answer.Header().Set("X-RateLimit-Remaining", itoa(rateLimit-used))
			answer.Header().Set("X-RateLimit-Used", itoa(used))
			answer.Header().Set("X-RateLimit-Reset", itoa(time.Now().Add(time.Hour).Unix()))
			if repository := request.PathValue("repository"); repository != "" {
				if !s.repositoryExists(request.PathValue("owner") + "/" + repository) {
					fail(answer, http.StatusNotFound, "Not Found")
					return
				}
			}
			do(answer, request)
		})
	}
	for pattern, scope := range map[string]func(*http.Request) string{
		"/repos/{owner}/{repository}": func(r *http.Request) string { return "repos/" + r.PathValue("owner") + "/" + r.PathValue("repository") },
		"/orgs/{owner}":               func(r *http.Request) string { return "orgs/" + r.PathValue("owner") },
		"/enterprises/{owner}":        func(r *http.Request) string { return "enterprises/" + r.PathValue("owner") },
	} {
		signedIn("POST "+pattern+"/actions/runners/registration-token", func(answer http.ResponseWriter, request *http.Request) {
			token, expires := s.state.NewToken(s.state.Tokens, "A", scope(request))
			reply(answer, http.StatusCreated, map[string]any{"token": token, "expires_at": expires.Format(time.RFC3339)})
		})
		signedIn("GET "+pattern+"/actions/runners", func(answer http.ResponseWriter, request *http.Request) {
			views := runnerViews(s.state.RunnersOf(scope(request)))
			reply(answer, http.StatusOK, map[string]any{"total_count": len(views), "runners": page(answer, request, views)})
		})
		// No version is ever too old for the stand-in, whose runners are its own.
		signedIn("GET "+pattern+"/actions/runners/deprecations/{version}", func(answer http.ResponseWriter, request *http.Request) {
			reply(answer, http.StatusOK, map[string]any{
				"runner_version": request.PathValue("version"), "runtime_deprecates_at": nil, "registration_deprecates_at": nil,
			})
		})
		signedIn("GET "+pattern+"/actions/runners/{id}", func(answer http.ResponseWriter, request *http.Request) {
			for _, runner := range s.state.RunnersOf(scope(request)) {
				if runner.ID == pathID(request, "id") {
					reply(answer, http.StatusOK, runnerViews([]Runner{runner})[0])
					return
				}
			}
			fail(answer, http.StatusNotFound, "Not Found")
		})
		signedIn("DELETE "+pattern+"/actions/runners/{id}", func(answer http.ResponseWriter, request *http.Request) {
			switch found, busy, name := s.state.Remove(pathID(request, "id"), scope(request)); {
			case !found:
				fail(answer, http.StatusNotFound, "Not Found")
			case busy:
				fail(answer, http.StatusUnprocessableEntity, fmt.Sprintf("Bad request - Runner %q is still running a job", name))
			default:
				answer.WriteHeader(http.StatusNoContent)
			}
		})
	}
	signedIn("GET /orgs/{owner}/actions/runner-groups", func(answer http.ResponseWriter, _ *http.Request) {
		group := map[string]any{"id": 1, "name": "Default", "visibility": "all", "default": true, "inherited": false}
		reply(answer, http.StatusOK, map[string]any{"total_count": 1, "runner_groups": []any{group}})
	})
	signedIn("GET /repos/{owner}/{repository}", func(answer http.ResponseWriter, request *http.Request) {
		name := request.PathValue("owner") + "/" + request.PathValue("repository")
		reply(answer, http.StatusOK, map[string]any{"full_name": name, "private": true, "visibility": "private"})
	})
	signedIn("GET /repos/{owner}/{repository}/actions/runs", s.workflowRuns)
	signedIn("GET /repos/{owner}/{repository}/actions/runs/{run}/jobs", s.workflowJobs)
	s.workflows(signedIn)
	signedIn("GET /rate_limit", func(answer http.ResponseWriter, _ *http.Request) {
		core := map[string]int64{
			"limit": rateLimit, "used": s.used.Load(), "remaining": max(0, rateLimit-s.used.Load()), "reset": time.Now().Add(time.Hour).Unix(),
		}
		reply(answer, http.StatusOK, map[string]any{"resources": map[string]any{"core": core}, "rate": core})
	})
	mux.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { fail(answer, http.StatusNotFound, "Not Found") })
	return mux
}

func (s *Service) accessToken(answer http.ResponseWriter, request *http.Request) {
	if s.app == nil {
		fail(answer, http.StatusUnauthorized, "no app is known here")
		return
	}
	if err := s.app.check(bearer(request)); err != nil {
		fail(answer, http.StatusUnauthorized, err.Error())
		return
	}
	if request.PathValue("id") != s.app.installation {
		fail(answer, http.StatusNotFound, "Not Found")
		return
	}
	token, expires := s.state.NewToken(s.state.Sessions, "ghs_", "")
	permissions := map[string]string{"actions": "read", "administration": "write", "metadata": "read"}
	reply(answer, http.StatusCreated, map[string]any{
		"token": token, "expires_at": expires.Format(time.RFC3339), "permissions": permissions, "repository_selection": "all",
	})
}

func runnerViews(runners []Runner) []map[string]any {
	views := make([]map[string]any, 0, len(runners))
	for _, runner := range runners {
		status := "online"
		if time.Since(runner.LastSeen) > offlineAfter {
			status = "offline"
		}
		labels := make([]map[string]any, 0, len(runner.Labels))
		for index, label := range runner.Labels {
			kind := "custom"
			if index < 3 {
				kind = "read-only"
			}
			labels = append(labels, map[string]any{"id": index + 1, "name": label, "type": kind})
		}
		views = append(views, map[string]any{
			"id": runner.ID, "name": runner.Name, "os": runner.OS, "status": status, "busy": runner.JobID != 0,
			"ephemeral": runner.Ephemeral, "labels": labels,
		})
	}
	return views
}

// page cuts a list as per_page and page say, with the Link header that clients follow.
func page[T any](answer http.ResponseWriter, request *http.Request, all []T) []T {
	query := request.URL.Query()
	size, _ := strconv.Atoi(query.Get("per_page"))
	if size < 1 || size > 100 {
		size = 30
	}
	number, _ := strconv.Atoi(query.Get("page"))
	number = max(number, 1)
	start := min((number-1)*size, len(all))
	end := min(start+size, len(all))
	if end < len(all) {
		next := url.URL{Scheme: "http", Host: request.Host, Path: request.URL.Path}
		query.Set("page", strconv.Itoa(number+1))
		next.RawQuery = query.Encode()
		answer.Header().Set("Link", fmt.Sprintf("<%s>; rel=\"next\"", next.String()))
	}
	return all[start:end]
}

func repositoryOf(request *http.Request) string {
	return request.PathValue("owner") + "/" + request.PathValue("repository")
}

func (s *Service) workflowRuns(answer http.ResponseWriter, request *http.Request) {
	status := request.URL.Query().Get("status")
	runs := []map[string]any{}
	for _, job := range s.state.JobsWhere(func(job *Job) bool {
		return strings.EqualFold(job.Repository, repositoryOf(request)) && (status == "" || job.Status == status || job.Conclusion == status)
	}) {
		runs = append(runs, map[string]any{
			"id": job.RunID, "name": job.Name, "status": job.Status, "conclusion": nullable(job.Conclusion), "event": "workflow_dispatch",
			"created_at": job.CreatedAt.Format(time.RFC3339),
		})
	}
	reply(answer, http.StatusOK, map[string]any{"total_count": len(runs), "workflow_runs": page(answer, request, runs)})
}

func (s *Service) workflowJobs(answer http.ResponseWriter, request *http.Request) {
	jobs := []map[string]any{}
	for _, job := range s.state.JobsWhere(func(job *Job) bool {
		return job.RunID == pathID(request, "run") && strings.EqualFold(job.Repository, repositoryOf(request))
	}) {
		jobs = append(jobs, map[string]any{
			"id": job.ID, "run_id": job.RunID, "name": job.Name, "status": job.Status, "conclusion": nullable(job.Conclusion),
			"labels": job.Labels, "runner_id": job.RunnerID, "runner_name": job.RunnerName,
			"started_at": job.StartedAt, "completed_at": job.CompletedAt,
		})
	}
	reply(answer, http.StatusOK, map[string]any{"total_count": len(jobs), "jobs": page(answer, request, jobs)})
}

func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}
