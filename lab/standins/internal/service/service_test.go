// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type caller struct {
	t     *testing.T
	url   string
	token string
}

func serve(t *testing.T, config Config, directory string) caller {
	t.Helper()
	state, err := OpenState(directory)
	if err != nil {
		t.Fatal(err)
	}
	service, err := New(config, state)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	return caller{t, server.URL, config.Token}
}

// call sends a request and wants a status; the answer's body is decoded.
func (c caller) call(method, path, token string, content any, status int) (map[string]any, http.Header) {
	c.t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequest(method, c.url+path, bytes.NewReader(data))
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if answer.StatusCode != status {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, path, answer.StatusCode, status, text)
	}
	result := map[string]any{}
	_ = json.Unmarshal(text, &result)
	return result, answer.Header
}

func (c caller) register(repository, name string, labels ...string) string {
	c.t.Helper()
	answer, _ := c.call("POST", "/api/v3/repos/"+repository+"/actions/runners/registration-token", c.token, nil, 201)
	runner, _ := c.call("POST", "/_lab/runner/register", "", map[string]any{
		"scope": "repos/" + repository, "name": name, "labels": labels, "ephemeral": true, "token": answer["token"],
	}, 201)
	return runner["secret"].(string)
}

func (c caller) queue(repository string, labels ...string) int {
	c.t.Helper()
	job, _ := c.call("POST", "/_lab/jobs", "", map[string]any{"repository": repository, "labels": labels, "script": "true"}, 201)
	return int(job["id"].(float64))
}

func TestTokenAuth(t *testing.T) {
	c := serve(t, Config{Token: "good"}, "")
	for path, method := range map[string]string{
		"/api/v3/repos/a/b/actions/runners/registration-token": "POST",
		"/repos/a/b/actions/runners/registration-token":        "POST",
		"/api/v3/orgs/a/actions/runners":                       "GET",
		"/api/v3/rate_limit":                                   "GET",
	} {
		for _, token := range []string{"", "bad"} {
			answer, _ := c.call(method, path, token, nil, 401)
			if answer["message"] != "Bad credentials" {
				t.Errorf("%s: %v", path, answer)
			}
		}
	}
	answer, header := c.call("POST", "/api/v3/enterprises/e/actions/runners/registration-token", "good", nil, 201)
	if expires, err := time.Parse(time.RFC3339, answer["expires_at"].(string)); err != nil || time.Until(expires) < 50*time.Minute {
		t.Errorf("expires %v %v", answer, err)
	}
	if header.Get("X-RateLimit-Limit") != "5000" || header.Get("X-RateLimit-Remaining") == "" {
		t.Errorf("no rate limit in %v", header)
	}
	c.call("GET", "/api/v3/nothing/here", "good", nil, 404)
}

func TestUnknownRepository(t *testing.T) {
	c := serve(t, Config{Token: "good", Repositories: []string{"a/b"}}, "")
	c.call("POST", "/api/v3/repos/A/B/actions/runners/registration-token", "good", nil, 201)
	c.call("POST", "/api/v3/repos/a/c/actions/runners/registration-token", "good", nil, 404)
	c.call("POST", "/_lab/jobs", "", map[string]any{"repository": "a/c", "script": "true"}, 422)
}

func TestAppAuth(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	c := serve(t, Config{AppID: "7", Installation: "8", AppKey: string(text)}, "")
	sign := func(issuer any, expires time.Time) string {
		encode := base64.RawURLEncoding.EncodeToString
		claims, _ := json.Marshal(map[string]any{"iss": issuer, "exp": expires.Unix()})
		unsigned := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
		sum := sha256.Sum256([]byte(unsigned))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return unsigned + "." + encode(signature)
	}
	soon := time.Now().Add(time.Minute)
	c.call("POST", "/api/v3/app/installations/8/access_tokens", "a.b.c", nil, 401)
	c.call("POST", "/api/v3/app/installations/8/access_tokens", sign(7, time.Now().Add(-time.Minute)), nil, 401)
	c.call("POST", "/api/v3/app/installations/8/access_tokens", sign("9", soon), nil, 401)
	c.call("POST", "/api/v3/app/installations/9/access_tokens", sign("7", soon), nil, 404)
	for _, issuer := range []any{"7", 7} {
		answer, _ := c.call("POST", "/api/v3/app/installations/8/access_tokens", sign(issuer, soon), nil, 201)
		c.call("GET", "/api/v3/repos/a/b/actions/runners", answer["token"].(string), nil, 200)
	}
	c.call("GET", "/api/v3/repos/a/b/actions/runners", "", nil, 401)
}

func TestRegistrationNeedsATokenOfTheScope(t *testing.T) {
	c := serve(t, Config{Token: "good"}, "")
	answer, _ := c.call("POST", "/api/v3/repos/a/b/actions/runners/registration-token", "good", nil, 201)
	for _, token := range []any{"", "made up", answer["token"]} {
		c.call("POST", "/_lab/runner/register", "", map[string]any{"scope": "repos/a/c", "name": "r", "token": token}, 401)
	}
	c.call("POST", "/_lab/runner/wait", "", nil, 401)
}

func TestJobGoesToARunnerThatFits(t *testing.T) {
	c := serve(t, Config{Token: "good"}, "")
	c.register("a/b", "waits-for-others", "large")
	secret := c.register("a/b", "takes-it", "small", "runnerfleet")
	c.queue("a/c", "small")
	c.queue("a/b", "huge")
	id := c.queue("a/b", "self-hosted", "Small", "runnerfleet")
	job, _ := c.call("POST", "/_lab/runner/wait", secret, nil, 200)
	if int(job["id"].(float64)) != id {
		t.Fatalf("got %v", job)
	}
	runners, _ := c.call("GET", "/api/v3/repos/a/b/actions/runners?per_page=100", "good", nil, 200)
	busy := runners["runners"].([]any)[1].(map[string]any)
	if busy["busy"] != true || busy["status"] != "online" || busy["name"] != "takes-it" {
		t.Errorf("runner %v", busy)
	}
	path := fmt.Sprintf("/api/v3/repos/a/b/actions/runners/%v", busy["id"])
	refused, _ := c.call("DELETE", path, "good", nil, 422)
	if !strings.Contains(refused["message"].(string), "is still running a job") {
		t.Errorf("refusal %v", refused)
	}
	runs, _ := c.call("GET", "/api/v3/repos/a/b/actions/runs?status=in_progress", "good", nil, 200)
	run := runs["workflow_runs"].([]any)[0].(map[string]any)
	jobs, _ := c.call("GET", fmt.Sprintf("/api/v3/repos/a/b/actions/runs/%v/jobs", run["id"]), "good", nil, 200)
	if view := jobs["jobs"].([]any)[0].(map[string]any); view["runner_name"] != "takes-it" || view["status"] != "in_progress" {
		t.Errorf("job %v", view)
	}
	c.call("POST", "/_lab/runner/complete", secret, map[string]any{"conclusion": "success", "exit_code": 0}, 204)
	c.call("DELETE", path, "good", nil, 404)
	c.call("POST", "/_lab/runner/wait", secret, nil, 401)
}

func TestRunnerThatAsksAnewHasLostItsJob(t *testing.T) {
	c := serve(t, Config{Token: "good"}, "")
	secret := c.register("a/b", "killed", "small")
	id := c.queue("a/b", "small")
	c.call("POST", "/_lab/runner/wait", secret, nil, 200)
	c.call("POST", "/_lab/runner/wait", secret, nil, 204)
	job, _ := c.call("GET", fmt.Sprintf("/_lab/jobs/%d", id), "", nil, 200)
	if job["status"] != "completed" || job["conclusion"] != "failure" {
		t.Errorf("job %v", job)
	}
	c.call("POST", "/_lab/runner/wait", secret, nil, 401)
}

func TestRunnersTakeTurns(t *testing.T) {
	c := serve(t, Config{Token: "good"}, "")
	got := make(chan string, 2)
	for _, name := range []string{"first", "second"} {
		secret := c.register("a/b", name)
		go func() {
			if job, _ := c.call("POST", "/_lab/runner/wait", secret, nil, 200); job["id"] != nil {
				got <- name
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	for _, want := range []string{"first", "second"} {
		c.queue("a/b")
		if name := <-got; name != want {
			t.Errorf("got %s, want %s", name, want)
		}
	}
}

func TestPages(t *testing.T) {
	c := serve(t, Config{Token: "good"}, "")
	for number := range 5 {
		c.register("a/b", fmt.Sprint("r", number))
	}
	first, header := c.call("GET", "/api/v3/repos/a/b/actions/runners?per_page=3", "good", nil, 200)
	if len(first["runners"].([]any)) != 3 || first["total_count"] != 5.0 || !strings.Contains(header.Get("Link"), "/api/v3/repos/") &&
		!strings.Contains(header.Get("Link"), "page=2") {
		t.Errorf("%v %v", first, header)
	}
	second, header := c.call("GET", "/api/v3/repos/a/b/actions/runners?per_page=3&page=2", "good", nil, 200)
	if len(second["runners"].([]any)) != 2 || header.Get("Link") != "" {
		t.Errorf("%v %v", second, header)
	}
}

func TestRestartKeepsRunnersAndLogs(t *testing.T) {
	directory := t.TempDir()
	c := serve(t, Config{Token: "good"}, directory)
	secret := c.register("a/b", "r")
	id := c.queue("a/b")
	c.call("POST", "/_lab/runner/wait", secret, nil, 200)
	c.call("POST", "/_lab/runner/log", secret, "hello", 204)
	c = serve(t, Config{Token: "good"}, directory)
	c.call("POST", "/_lab/runner/complete", secret, map[string]any{"conclusion": "failure", "exit_code": 4}, 204)
	job, _ := c.call("GET", fmt.Sprint("/_lab/jobs/", id), "", nil, 200)
	if job["conclusion"] != "failure" || job["exit_code"] != 4.0 || job["runner_name"] != "r" {
		t.Errorf("job %v", job)
	}
	answer, err := http.Get(fmt.Sprint(c.url, "/_lab/jobs/", id, "/log"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); string(text) != `"hello"` {
		t.Errorf("log %q", text)
	}
}

func TestLostRunner(t *testing.T) {
	state, err := OpenState("")
	if err != nil {
		t.Fatal(err)
	}
	runner := state.Register(&Runner{Name: "r", Scope: "repos/a/b", Ephemeral: true})
	job := state.Enqueue(&Job{Repository: "a/b", Script: "true"})
	if state.Wait(runner, nil, time.Second) == nil {
		t.Fatal("no job")
	}
	runner.LastSeen = time.Now().Add(-time.Hour)
	lost := state.JobsWhere(func(*Job) bool { return true })[0]
	if lost.Conclusion != "failure" || !strings.Contains(string(state.Log(job.ID)), "lost communication") {
		t.Errorf("job %+v", lost)
	}
}

func TestHangingUpGivesTheJobBack(t *testing.T) {
	state, err := OpenState("")
	if err != nil {
		t.Fatal(err)
	}
	runner := state.Register(&Runner{Name: "r", Scope: "repos/a/b"})
	hungUp := make(chan struct{})
	close(hungUp)
	for range 20 { // either branch may be taken
		state.Enqueue(&Job{Repository: "a/b", Script: "true"})
		if job := state.Wait(runner, hungUp, time.Second); job != nil {
			state.Complete(job.ID, "success", 0)
		} else if state.JobOf(runner) != 0 {
			t.Fatal("the runner kept a job that it never saw")
		}
	}
}

func TestNoVersionIsTooOld(t *testing.T) {
	caller := serve(t, Config{Token: "pat", Repositories: []string{"lab/example"}}, "")
	for _, owner := range []string{"repos/lab/example", "orgs/lab", "enterprises/lab"} {
		answer, _ := caller.call("GET", "/api/v3/"+owner+"/actions/runners/deprecations/2.335.1", "pat", nil, http.StatusOK)
		if answer["runner_version"] != "2.335.1" || answer["runtime_deprecates_at"] != nil || answer["registration_deprecates_at"] != nil {
			t.Errorf("%s: %v", owner, answer)
		}
	}
	caller.call("GET", "/api/v3/orgs/lab/actions/runners/deprecations/2.335.1", "other", nil, http.StatusUnauthorized)
	caller.call("GET", "/api/v3/repos/lab/none/actions/runners/deprecations/2.335.1", "pat", nil, http.StatusNotFound)
}

func TestItsRepositoriesArePrivate(t *testing.T) {
	caller := serve(t, Config{Token: "pat", Repositories: []string{"lab/example"}}, "")
	answer, _ := caller.call("GET", "/api/v3/repos/lab/example", "pat", nil, http.StatusOK)
	if answer["full_name"] != "lab/example" || answer["private"] != true {
		t.Error(answer)
	}
	caller.call("GET", "/api/v3/repos/lab/none", "pat", nil, http.StatusNotFound)
}

func TestTokensAreMadeAndRevoked(t *testing.T) {
	github := serve(t, Config{Token: "first"}, "")
	path := "/api/v3/repos/o/r/actions/runners/registration-token"
	github.call("POST", path, "second", nil, http.StatusUnauthorized)
	github.call("POST", "/_lab/tokens", "", map[string]string{"token": "second"}, http.StatusNoContent)
	github.call("POST", path, "first", nil, http.StatusCreated)
	github.call("POST", path, "second", nil, http.StatusCreated)
	github.call("DELETE", "/_lab/tokens", "", map[string]string{"token": "first"}, http.StatusNoContent)
	github.call("POST", path, "first", nil, http.StatusUnauthorized)
	github.call("POST", path, "second", nil, http.StatusCreated)
	github.call("POST", "/_lab/tokens", "", map[string]string{"token": ""}, http.StatusUnprocessableEntity)
}
