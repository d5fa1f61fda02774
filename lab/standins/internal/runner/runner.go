// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package runner is the stand-in of the runner image: it takes one job and ends. The legacy runner controller starts it with a
// registration token, that of scale sets with a configuration in which it is registered already.
package runner

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// notForJobs are the variables that the runner keeps to itself, as the real entry point does.
var notForJobs = []string{
	"RUNNER_NAME", "RUNNER_REPO", "RUNNER_TOKEN", "STARTUP_DELAY_IN_SECONDS", "DISABLE_WAIT_FOR_DOCKER", jitVariable,
}

const jitVariable = "ACTIONS_RUNNER_INPUT_JITCONFIG"

type job struct {
	ID             int64  `json:"id"`
	RunID          int64  `json:"run_id"`
	Name           string `json:"name"`
	Repository     string `json:"repository"`
	Script         string `json:"script"`
	TimeoutSeconds int    `json:"timeout_seconds"`
}

// Runner works from the variables that the controller gives its container.
type Runner struct {
	environ map[string]string
	url     string
	id      int64
	secret  string
	stop    <-chan os.Signal
}

// Main is the entry point of the image. It ends with 0 when its work is done, whatever became of the job.
func Main() int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	return Run(os.Environ(), stop)
}

// Run is Main with an environment and a way to stop it.
func Run(environment []string, stop <-chan os.Signal) int {
	runner := &Runner{environ: map[string]string{}, stop: stop}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		runner.environ[name] = value
	}
	if config := runner.environ[jitVariable]; config != "" {
		if err := runner.adopt(config); err != nil {
			log.Print("The configuration is not one: ", err)
			return 1
		}
	} else {
		scope, err := runner.check()
		if err != nil {
			log.Print(err)
			return 1
		}
		if err := runner.register(scope); err != nil {
			log.Print("Configuration failed! ", err)
			return 2
		}
	}
	if err := runner.work(); err != nil {
		log.Print(err)
		return 1
	}
	os.Remove(filepath.Join(runner.home(), ".runner"))
	log.Print("runner exited")
	return 0
}

func (r *Runner) get(name, otherwise string) string {
	if value := r.environ[name]; value != "" {
		return value
	}
	return otherwise
}

func (r *Runner) home() string { return r.get("RUNNER_HOME", "/runner") }

// check says which scope the runner belongs to, or which variable is missing.
func (r *Runner) check() (string, error) {
	r.url = strings.TrimSuffix(r.get("GITHUB_URL", "https://github.com/"), "/")
	if r.get("RUNNER_NAME", "") == "" {
		return "", errors.New("RUNNER_NAME must be set")
	}
	if r.get("RUNNER_TOKEN", "") == "" {
		return "", errors.New("RUNNER_TOKEN must be set")
	}
	if info, err := os.Stat(r.home()); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s should be an emptyDir mount. Please fix the pod spec", r.home())
	}
	switch {
	case r.environ["RUNNER_ORG"] != "":
		return "orgs/" + r.environ["RUNNER_ORG"], nil
	case r.environ["RUNNER_REPO"] != "":
		return "repos/" + r.environ["RUNNER_REPO"], nil
	case r.environ["RUNNER_ENTERPRISE"] != "":
		return "enterprises/" + r.environ["RUNNER_ENTERPRISE"], nil
	}
	return "", errors.New("at least one of RUNNER_ORG, RUNNER_REPO, or RUNNER_ENTERPRISE must be set")
}

// adopt takes over the files that the service has made for this runner, and writes them where a runner has them.
func (r *Runner) adopt(config string) error {
	r.environ["RUNNER_HOME"] = r.get("RUNNER_HOME", r.get("HOME", "/home/runner"))
	files := map[string]string{}
	if err := decode(config, &files); err != nil {
		return err
	}
	var settings struct {
		ID         int64  `json:"agentId"`
		Name       string `json:"agentName"`
		Address    string `json:"gitHubUrl"`
		WorkFolder string `json:"workFolder"`
		Ephemeral  bool   `json:"ephemeral"`
	}
	var credentials struct {
		Data struct {
			ID string `json:"clientId"`
		} `json:"data"`
	}
	if err := errors.Join(decode(files[".runner"], &settings), decode(files[".credentials"], &credentials)); err != nil {
		return err
	}
	address, err := url.Parse(settings.Address)
	if err != nil || address.Host == "" {
		return fmt.Errorf("no address in %q", settings.Address)
	}
	for name, content := range files {
		data, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.home(), filepath.Base(name)), data, 0o600); err != nil {
			return err
		}
	}
	r.url, r.id, r.secret = address.Scheme+"://"+address.Host, settings.ID, credentials.Data.ID
	r.environ["RUNNER_NAME"], r.environ["RUNNER_EPHEMERAL"] = settings.Name, strconv.FormatBool(settings.Ephemeral)
	if folder := settings.WorkFolder; folder != "" {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(r.home(), folder)
		}
		r.environ["RUNNER_WORKDIR"] = folder
	}
	log.Printf("runner %s is registered at %s as %d", settings.Name, r.url, r.id)
	return nil
}

func decode(text string, into any) error {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func (r *Runner) ephemeral() bool { return r.environ["RUNNER_EPHEMERAL"] == "true" }

func (r *Runner) register(scope string) error {
	if delay, err := strconv.Atoi(r.get("STARTUP_DELAY_IN_SECONDS", "0")); err == nil {
		time.Sleep(time.Duration(delay) * time.Second)
	}
	wanted := map[string]any{
		"scope": scope, "name": r.environ["RUNNER_NAME"], "labels": strings.Split(r.environ["RUNNER_LABELS"], ","),
		"ephemeral": r.ephemeral(), "token": r.environ["RUNNER_TOKEN"],
	}
	var answer struct {
		ID     int64  `json:"id"`
		Secret string `json:"secret"`
	}
	var err error
	for range 10 {
		if _, err = r.call(context.Background(), "register", wanted, &answer); err == nil {
			break
		}
		log.Print(err, ", trying again")
		time.Sleep(time.Second)
	}
	if err != nil {
		return err
	}
	r.id, r.secret = answer.ID, answer.Secret
	log.Printf("runner %s registered at %s for %s as %d", r.environ["RUNNER_NAME"], r.url, scope, r.id)
	note, _ := json.Marshal(map[string]any{
		"agentId": r.id, "agentName": r.environ["RUNNER_NAME"], "gitHubUrl": r.url + "/" + strings.SplitN(scope, "/", 2)[1],
	})
	return os.WriteFile(filepath.Join(r.home(), ".runner"), note, 0o600)
}

// call posts to the service; the answer is decoded unless there is none.
func (r *Runner) call(ctx context.Context, path string, content, into any) (int, error) {
	var reader io.Reader
	switch value := content.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(value)
	default:
		data, err := json.Marshal(value)
		if err != nil {
			return 0, err
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/_lab/runner/"+path, reader)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+r.secret)
	request.Header.Set("Node-Name", r.environ["NODE_NAME"])
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	if answer.StatusCode >= 300 {
		return answer.StatusCode, fmt.Errorf("%s: %s %s", request.URL, answer.Status, strings.TrimSpace(string(data)))
	}
	if into != nil && len(data) > 0 {
		err = json.Unmarshal(data, into)
	}
	return answer.StatusCode, err
}

// work waits for a job and runs it: once when ephemeral, until stopped otherwise.
func (r *Runner) work() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	idle := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		select {
		case <-r.stop:
			close(stopped)
			cancel()
		case <-idle:
		}
	}()
	defer close(idle)
	for {
		var next job
		status, err := r.call(ctx, "wait", nil, &next)
		switch {
		case ctx.Err() != nil:
			_, err := r.call(context.Background(), "unregister", nil, nil)
			return err
		case status == http.StatusUnauthorized:
			return err // removed from the service
		case err != nil:
			log.Print(err, ", trying again")
			time.Sleep(2 * time.Second)
		case status == http.StatusOK:
			log.Printf("running job %d %s", next.ID, next.Name)
			if err := r.run(next, stopped); err != nil || r.ephemeral() {
				return err
			}
		}
	}
}

// run carries a job out and reports its result; a stop gives it some time before it is cancelled.
func (r *Runner) run(next job, stopped <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(next.TimeoutSeconds)*time.Second)
	defer cancel()
	conclusion, code := "success", 0
	output := &stream{}
	finished := make(chan struct{})
	sent := make(chan struct{})
	go r.send(output, finished, sent)
	cancelled := make(chan struct{})
	go func() {
		grace, _ := strconv.Atoi(r.get("RUNNER_GRACEFUL_STOP_TIMEOUT", "15"))
		select {
		case <-stopped:
		case <-finished:
			return
		}
		select {
		case <-time.After(time.Duration(grace) * time.Second):
			close(cancelled)
			cancel()
		case <-finished:
		}
	}()
	err := r.script(ctx, next, output)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		conclusion, code = "timed_out", -1
		select {
		case <-cancelled:
			conclusion = "cancelled"
		default:
		}
		fmt.Fprintf(output, "Error: The operation was %s.\n", conclusion)
	case errors.As(err, &exit):
		conclusion, code = "failure", exit.ExitCode()
		fmt.Fprintf(output, "Error: Process completed with exit code %d.\n", code)
	default:
		conclusion, code = "failure", -1
		fmt.Fprintf(output, "Error: %v\n", err)
	}
	close(finished)
	<-sent
	log.Printf("job %d completed with result: %s", next.ID, conclusion)
	_, err = r.call(context.Background(), "complete", map[string]any{"conclusion": conclusion, "exit_code": code}, nil)
	return err
}

func (r *Runner) script(ctx context.Context, next job, output io.Writer) error {
	_, name, _ := strings.Cut(next.Repository, "/")
	workdir := r.get("RUNNER_WORKDIR", filepath.Join(r.home(), "_work"))
	workspace := filepath.Join(workdir, name, name)
	temporary := filepath.Join(workdir, "_temp")
	for _, directory := range []string{workspace, temporary} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
	}
	file := filepath.Join(temporary, "script.sh")
	if err := os.WriteFile(file, []byte(next.Script), 0o600); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "sh", "-e", file)
	command.Dir, command.Stdout, command.Stderr = workspace, output, output
	for name, value := range r.environ {
		if !slices.Contains(notForJobs, name) {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	command.Env = append(command.Env,
		"CI=true", "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY="+next.Repository, "GITHUB_SERVER_URL="+r.url, "GITHUB_JOB="+next.Name,
		"GITHUB_RUN_ID="+strconv.FormatInt(next.RunID, 10), "GITHUB_WORKSPACE="+workspace,
		"RUNNER_NAME="+r.environ["RUNNER_NAME"], "RUNNER_OS=Linux", "RUNNER_TEMP="+temporary)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 2 * time.Second
	return command.Run()
}
