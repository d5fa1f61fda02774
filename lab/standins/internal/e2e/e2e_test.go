// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package e2e lets the four stand-ins work together, each as it is in the lab, on loopback.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"runnerfleet.lab/standins/internal/client"
	"runnerfleet.lab/standins/internal/engine"
	"runnerfleet.lab/standins/internal/runner"
	"runnerfleet.lab/standins/internal/service"
)

// The test's own binary is the first process of a step, as the engine's is.
func TestMain(m *testing.M) {
	engine.StepMain()
	os.Exit(m.Run())
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

type fleet struct {
	t           *testing.T
	url         string
	environment []string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	base := t.TempDir()
	for path, source := range map[string]string{"bin/dagger": "../../dagger", "bb/bin/payload": "../engine/testdata/payload"} {
		build := exec.Command("go", "build", "-o", filepath.Join(base, path), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	state, err := service.OpenState("")
	if err != nil {
		t.Fatal(err)
	}
	github, err := service.New(service.Config{Token: "good"}, state)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(github.Handler())
	t.Cleanup(server.Close)
	socket := "unix://" + filepath.Join(base, "run", "engine.sock")
	stop, ended := make(chan os.Signal, 1), make(chan error, 1)
	go func() {
		ended <- engine.Serve(engine.Options{
			Version: "v0.21.11", Config: filepath.Join(base, "none.json"), Root: filepath.Join(base, "state"), Socket: socket, Group: 0,
		}, stop)
	}()
	t.Cleanup(func() {
		stop <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for range 100 {
		if _, err := os.Stat(filepath.Join(base, "run", "engine.sock")); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	home := filepath.Join(base, "runner")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	return &fleet{t, server.URL, []string{
		"PATH=" + filepath.Join(base, "bin") + ":" + os.Getenv("PATH"), "RUNNER_HOME=" + home, "GITHUB_URL=" + server.URL + "/",
		"RUNNER_REPO=acme/app", "RUNNER_ORG=", "RUNNER_ENTERPRISE=", "RUNNER_LABELS=runnerfleet,small", "RUNNER_EPHEMERAL=true",
		"NODE_NAME=runner-1", "ROOTFS=" + filepath.Join(base, "bb"), client.RunnerHost + "=" + socket,
	}}
}

// call goes through the same door as the runner controller and the proof.
func (f *fleet) call(method, path string, content any, into any) {
	f.t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		f.t.Fatal(err)
	}
	request, err := http.NewRequest(method, f.url+path, bytes.NewReader(data))
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("Authorization", "token good")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		f.t.Fatalf("%s: %s %s %v", path, answer.Status, text, err)
	}
	if lines, isText := into.(*string); isText {
		*lines = string(text)
	} else if err := json.Unmarshal(text, into); err != nil {
		f.t.Fatal(err)
	}
}

// run queues a script, starts one runner as the controller would, and gives back the job and its log.
func (f *fleet) run(name, script string, extra ...string) (service.Job, string, int) {
	f.t.Helper()
	var registration struct{ Token string }
	f.call("POST", "/api/v3/repos/acme/app/actions/runners/registration-token", nil, &registration)
	var job service.Job
	f.call("POST", "/_lab/jobs", map[string]any{
		"name": name, "repository": "acme/app", "labels": []string{"self-hosted", "runnerfleet", "small"}, "script": script, "timeout_seconds": 60,
	}, &job)
	environment := append(append([]string{"RUNNER_NAME=" + name, "RUNNER_TOKEN=" + registration.Token}, f.environment...), extra...)
	code := make(chan int, 1)
	go func() { code <- runner.Run(environment, make(chan os.Signal)) }()
	select {
	case ended := <-code:
		var log string
		f.call("GET", fmt.Sprint("/_lab/jobs/", job.ID), nil, &job)
		f.call("GET", fmt.Sprint("/_lab/jobs/", job.ID, "/log"), nil, &log)
		return job, log, ended
	case <-time.After(60 * time.Second):
		f.t.Fatal("the runner did not end")
	}
	return job, "", 0
}

func TestJobRunsThePipelineTwice(t *testing.T) {
	f := newFleet(t)
	job, log, code := f.run("pod-1", `
echo "node=$NODE_NAME runner=$RUNNER_NAME repository=$GITHUB_REPOSITORY token=${RUNNER_TOKEN:-none}"
for run in 1 2; do
  dagger --progress=plain -c "container | with-rootfs \$(host | directory $ROOTFS) | with-exec -- payload | stdout" > out.$run
done
cmp out.1 out.2
cat out.1
`)
	if code != 0 || job.Conclusion != "success" || job.RunnerName != "pod-1" || job.Node != "runner-1" {
		t.Fatalf("runner ended with %d, job %+v, log:\n%s", code, job, log)
	}
	for _, want := range []string{
		"node=runner-1 runner=pod-1 repository=acme/app token=none", "withExec payload DONE", "withExec payload CACHED",
	} {
		if !strings.Contains(colours.ReplaceAllString(log, ""), want) {
			t.Errorf("no %q in:\n%s", want, log)
		}
	}
	var runners struct {
		Count int `json:"total_count"`
	}
	f.call("GET", "/api/v3/repos/acme/app/actions/runners", nil, &runners)
	if runners.Count != 0 {
		t.Error("an ephemeral runner stayed registered")
	}
}

func TestFailedJob(t *testing.T) {
	f := newFleet(t)
	job, log, code := f.run("pod-2", "echo before\nfalse\necho after")
	if code != 0 || job.Conclusion != "failure" || job.ExitCode != 1 || strings.Contains(log, "after") || !strings.Contains(log, "before") {
		t.Errorf("runner ended with %d, job %+v, log:\n%s", code, job, log)
	}
}

func TestJobIsNotGivenARunnerWithoutAToken(t *testing.T) {
	environment := []string{"RUNNER_NAME=x", "RUNNER_REPO=a/b", "RUNNER_HOME=" + t.TempDir()}
	if code := runner.Run(environment, nil); code != 1 {
		t.Errorf("ended with %d", code)
	}
}

func TestIdleRunnerUnregistersWhenStopped(t *testing.T) {
	f := newFleet(t)
	var registration struct{ Token string }
	f.call("POST", "/api/v3/repos/acme/app/actions/runners/registration-token", nil, &registration)
	stop, code := make(chan os.Signal, 1), make(chan int, 1)
	go func() {
		code <- runner.Run(append(f.environment, "RUNNER_NAME=idle", "RUNNER_TOKEN="+registration.Token), stop)
	}()
	var runners []any
	for range 100 {
		if f.call("GET", "/_lab/runners", nil, &runners); len(runners) == 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	stop <- syscall.SIGTERM
	select {
	case ended := <-code:
		if f.call("GET", "/_lab/runners", nil, &runners); ended != 0 || len(runners) != 0 {
			t.Errorf("ended with %d, runners %v", ended, runners)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the runner did not stop")
	}
}
