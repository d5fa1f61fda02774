// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package conformance holds the stand-in of GitHub against the client and the listener that today's controller of scale
// sets is made of, as upstream publishes them. A module of its own: the stand-ins themselves need none of this.
package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/actions/scaleset"
	"github.com/actions/scaleset/listener"

	"runnerfleet.lab/standins/internal/runner"
	"runnerfleet.lab/standins/internal/service"
)

const repository = "acme/app"

// standin is the service, and what was asked of it.
type standin struct {
	t   *testing.T
	url string
	mu  sync.Mutex
	log []string
}

func serve(t *testing.T, config service.Config) *standin {
	t.Helper()
	state, err := service.OpenState("")
	if err != nil {
		t.Fatal(err)
	}
	github, err := service.New(config, state)
	if err != nil {
		t.Fatal(err)
	}
	s := &standin{t: t}
	handler := github.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		s.mu.Lock()
		s.log = append(s.log, request.Method+" "+request.URL.Path)
		s.mu.Unlock()
		handler.ServeHTTP(answer, request)
	}))
	t.Cleanup(server.CloseClientConnections)
	s.url = server.URL
	return s
}

func (s *standin) asked(what string) (count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.log {
		if strings.Contains(line, what) {
			count++
		}
	}
	return count
}

func (s *standin) lab(method, path string, content, into any) {
	s.t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		s.t.Fatal(err)
	}
	request, _ := http.NewRequest(method, s.url+"/_lab/"+path, bytes.NewReader(data))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode >= 300 || into != nil && json.Unmarshal(text, into) != nil {
		s.t.Fatalf("%s %s: %d %s", method, path, answer.StatusCode, text)
	}
}

func (s *standin) fault(method, path string, status, count int) {
	s.t.Helper()
	s.lab("POST", "faults", map[string]any{"method": method, "path": path, "status": status, "count": count}, nil)
}

// queue adds jobs for these labels and returns their numbers.
func (s *standin) queue(count int, script string, labels ...string) []int64 {
	s.t.Helper()
	ids := []int64{}
	for range count {
		var job struct{ ID int64 }
		s.lab("POST", "jobs", map[string]any{"name": "build", "repository": repository, "labels": labels, "script": script}, &job)
		ids = append(ids, job.ID)
	}
	return ids
}

func (s *standin) client(options ...scaleset.HTTPOption) *scaleset.Client {
	s.t.Helper()
	client, err := scaleset.NewClientWithPersonalAccessToken(scaleset.NewClientWithPersonalAccessTokenConfig{
		GitHubConfigURL: s.url + "/acme", PersonalAccessToken: "good", SystemInfo: scaleset.SystemInfo{System: "test"},
	}, append([]scaleset.HTTPOption{scaleset.WithRetryWaitMax(100 * time.Millisecond)}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

func make1(t *testing.T, client *scaleset.Client, name string) *scaleset.RunnerScaleSet {
	t.Helper()
	set, err := client.CreateRunnerScaleSet(context.Background(), &scaleset.RunnerScaleSet{
		Name: name, RunnerGroupID: 1, Labels: []scaleset.Label{{Name: name, Type: "System"}},
		RunnerSetting: scaleset.RunnerSetting{DisableUpdate: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// scaler does what the controller does in a cluster: for each runner that is wanted it starts one.
type scaler struct {
	s       *standin
	client  *scaleset.Client
	set     int
	home    func() string
	max     int
	running atomic.Int32
	made    atomic.Int32
	most    atomic.Int32
	ended   atomic.Int32
	failed  atomic.Int32
	all     sync.WaitGroup
	stop    chan os.Signal // closed where idle runners are to end, as a controller ends those that are too many
}

func (c *scaler) HandleJobStarted(context.Context, *scaleset.JobStarted) error { return nil }

func (c *scaler) HandleJobCompleted(_ context.Context, job *scaleset.JobCompleted) error {
	c.ended.Add(1)
	if job.Result != "succeeded" {
		c.failed.Add(1)
	}
	return nil
}

func (c *scaler) HandleDesiredRunnerCount(ctx context.Context, wanted int) (int, error) {
	wanted = min(wanted, c.max)
	for int(c.running.Load()) < wanted {
		name := fmt.Sprintf("set-%d-runner-%d", c.set, c.made.Add(1))
		config, err := c.client.GenerateJitRunnerConfig(ctx, &scaleset.RunnerScaleSetJitRunnerSetting{Name: name, WorkFolder: "_work"}, c.set)
		if err != nil {
			return 0, err
		}
		c.most.Store(max(c.most.Load(), c.running.Add(1)))
		c.all.Go(func() {
			defer c.running.Add(-1)
			code := runner.Run([]string{
				"ACTIONS_RUNNER_INPUT_JITCONFIG=" + config.EncodedJITConfig, "HOME=" + c.home(), "PATH=/usr/bin:/bin", "NODE_NAME=node-1",
			}, c.stop)
			if code != 0 {
				c.failed.Add(1)
			}
		})
	}
	return wanted, nil
}

// listen runs a listener of upstream's for a set until the returned function is called, which wants this error of it.
func (s *standin) listen(client *scaleset.Client, set, capacity int) (*scaler, func() error) {
	s.t.Helper()
	session, err := client.MessageSessionClient(context.Background(), set, fmt.Sprint("listener-", set), scaleset.WithRetryWaitMax(100*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	loop, err := listener.New(session, listener.Config{ScaleSetID: set, MaxRunners: capacity})
	if err != nil {
		s.t.Fatal(err)
	}
	work := &scaler{s: s, client: client, set: set, max: capacity, home: s.t.TempDir, stop: make(chan os.Signal)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(ctx, work) }()
	return work, func() error {
		s.t.Helper()
		select {
		case err := <-ended:
			cancel()
			close(work.stop)
			work.all.Wait()
			return err
		case <-time.After(100 * time.Millisecond):
		}
		cancel()
		err := <-ended
		close(work.stop)
		work.all.Wait()
		if closed := session.Close(context.Background()); closed != nil {
			s.t.Errorf("close: %v", closed)
		}
		return err
	}
}

func (s *standin) until(what string, seconds int, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Duration(seconds) * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("after %d s not yet: %s", seconds, what)
		}
	}
}

func TestSetsAndRunners(t *testing.T) {
	s := serve(t, service.Config{Token: "good", Groups: []string{"trusted"}})
	client, ctx := s.client(), context.Background()
	group, err := client.GetRunnerGroupByName(ctx, "trusted")
	if err != nil || group.ID != 2 || group.IsDefault {
		t.Fatalf("group %+v %v", group, err)
	}
	if _, err := client.GetRunnerGroupByName(ctx, "none"); err == nil {
		t.Error("a group that is not there was found")
	}
	if found, err := client.GetRunnerScaleSet(ctx, 1, "small"); err != nil || found != nil {
		t.Errorf("before it is made: %+v %v", found, err)
	}
	set := make1(t, client, "small")
	found, err := client.GetRunnerScaleSet(ctx, 1, "small")
	if err != nil || found.ID != set.ID || found.Name != "small" || found.RunnerGroupName != "Default" || found.CreatedOn.IsZero() {
		t.Fatalf("found %+v %v", found, err)
	}
	changed, err := client.UpdateRunnerScaleSet(ctx, set.ID, &scaleset.RunnerScaleSet{RunnerGroupID: group.ID})
	if err != nil || changed.RunnerGroupName != "trusted" || changed.Name != "small" || len(changed.Labels) != 1 {
		t.Errorf("changed %+v %v", changed, err)
	}
	config, err := client.GenerateJitRunnerConfig(ctx, &scaleset.RunnerScaleSetJitRunnerSetting{Name: "r1", WorkFolder: "_work"}, set.ID)
	if err != nil || config.Runner.RunnerScaleSetID != set.ID || config.EncodedJITConfig == "" {
		t.Fatalf("configuration %+v %v", config, err)
	}
	if _, err := client.GenerateJitRunnerConfig(ctx, &scaleset.RunnerScaleSetJitRunnerSetting{Name: "r1"}, set.ID); !errors.Is(err, scaleset.RunnerExistsError) {
		t.Errorf("the same name: %v", err)
	}
	named, err := client.GetRunnerByName(ctx, "r1")
	if err != nil || named.ID != config.Runner.ID {
		t.Errorf("by name %+v %v", named, err)
	}
	if unknown, err := client.GetRunnerByName(ctx, "none"); err != nil || unknown != nil {
		t.Errorf("by a name that is not there: %+v %v", unknown, err)
	}
	if err := errors.Join(client.RemoveRunner(ctx, int64(named.ID)), client.RemoveRunner(ctx, 0)); err != nil {
		t.Errorf("remove: %v", err)
	}
	if _, err := client.GetRunner(ctx, named.ID); !errors.Is(err, scaleset.RunnerNotFoundError) {
		t.Errorf("a runner that was removed: %v", err)
	}
	if err := client.DeleteRunnerScaleSet(ctx, set.ID); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := client.GetRunnerScaleSetByID(ctx, set.ID); err == nil {
		t.Error("a set that was deleted was found")
	}
}

func TestAnAppAndItsTokens(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	s := serve(t, service.Config{AppID: "7", Installation: "8", AppKey: string(text)})
	client, err := scaleset.NewClientWithGitHubApp(scaleset.ClientWithGitHubAppConfig{
		GitHubConfigURL: s.url + "/acme", SystemInfo: scaleset.SystemInfo{System: "test"},
		GitHubAppAuth: scaleset.GitHubAppAuth{ClientID: "7", InstallationID: 8, PrivateKey: string(text)},
	})
	if err != nil {
		t.Fatal(err)
	}
	set := make1(t, client, "small")
	before := s.asked("runner-registration")
	for range 3 {
		if _, err := client.GetRunnerScaleSetByID(context.Background(), set.ID); err != nil {
			t.Fatal(err)
		}
	}
	if now := s.asked("runner-registration"); now != before {
		t.Errorf("registered %d times with a token that holds", now-before)
	}
	// A token that ends within a minute is one that the client renews before it asks.
	s.lab("POST", "expire", map[string]any{"admin_seconds": 30}, nil)
	s.lab("POST", "expire", map[string]any{"admin": true}, nil)
	fresh, err := scaleset.NewClientWithGitHubApp(scaleset.ClientWithGitHubAppConfig{
		GitHubConfigURL: s.url + "/acme", SystemInfo: scaleset.SystemInfo{System: "test"},
		GitHubAppAuth: scaleset.GitHubAppAuth{ClientID: "7", InstallationID: 8, PrivateKey: string(text)},
	})
	if err != nil {
		t.Fatal(err)
	}
	before = s.asked("runner-registration")
	for range 3 {
		if _, err := fresh.GetRunnerScaleSetByID(context.Background(), set.ID); err != nil {
			t.Fatal(err)
		}
	}
	if now := s.asked("runner-registration"); now-before != 3 {
		t.Errorf("registered %d times for 3 requests with tokens that end soon", now-before)
	}
}

func TestJobsOfSeveralSetsFinishOnce(t *testing.T) {
	s := serve(t, service.Config{Token: "good"})
	client := s.client()
	var stops []func() error
	var scalers []*scaler
	var ids []int64
	for number, name := range []string{"small", "medium", "large"} {
		set := make1(t, client, name)
		work, stop := s.listen(client, set.ID, 3)
		scalers, stops = append(scalers, work), append(stops, stop)
		ids = append(ids, s.queue(10+number, "echo $RUNNER_NAME", name)...)
	}
	s.until("all jobs ended", 60, func() bool {
		return scalers[0].ended.Load()+scalers[1].ended.Load()+scalers[2].ended.Load() == int32(len(ids))
	})
	for index, stop := range stops {
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("listener %d: %v", index, err)
		}
		if work := scalers[index]; work.failed.Load() != 0 || work.most.Load() > 3 || work.made.Load() < int32(10+index) {
			t.Errorf("set %d: %d failed, at most %d at once, %d made", index, work.failed.Load(), work.most.Load(), work.made.Load())
		}
	}
	var jobs []struct {
		Status, Conclusion string
		RunnerName         string `json:"runner_name"`
	}
	s.lab("GET", "jobs", nil, &jobs)
	runners := map[string]bool{}
	for _, job := range jobs {
		if job.Status != "completed" || job.Conclusion != "success" || runners[job.RunnerName] {
			t.Errorf("job %+v", job)
		}
		runners[job.RunnerName] = true
	}
}

func TestABusyRunnerIsNotRemoved(t *testing.T) {
	s := serve(t, service.Config{Token: "good"})
	client := s.client()
	set := make1(t, client, "small")
	work, stop := s.listen(client, set.ID, 1)
	s.queue(1, "sleep 1", "small")
	var jobs []struct {
		Status   string
		RunnerID int64 `json:"runner_id"`
	}
	s.until("the job runs", 20, func() bool { s.lab("GET", "jobs", nil, &jobs); return jobs[0].Status == "in_progress" })
	if err := client.RemoveRunner(context.Background(), jobs[0].RunnerID); !errors.Is(err, scaleset.JobStillRunningError) {
		t.Errorf("remove a busy runner: %v", err)
	}
	s.until("the job ended", 20, func() bool { return work.ended.Load() == 1 })
	if err := stop(); !errors.Is(err, context.Canceled) || work.failed.Load() != 0 {
		t.Errorf("%v, %d failed", err, work.failed.Load())
	}
}

func TestAListenerLivesThroughFaults(t *testing.T) {
	s := serve(t, service.Config{Token: "good"})
	client := s.client()
	set := make1(t, client, "small")
	work, stop := s.listen(client, set.ID, 2)
	s.queue(1, "true", "small")
	s.until("the first job ended", 20, func() bool { return work.ended.Load() == 1 })
	for _, status := range []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable} {
		s.fault("GET", "/messages/", status, 3)
		s.fault("POST", "/acquirejobs", status, 2)
		s.fault("POST", "/generatejitconfig", status, 2)
		s.fault("DELETE", "/messages/", status, 2)
		before := work.ended.Load()
		s.queue(2, "true", "small")
		s.until(fmt.Sprint("jobs ended in spite of ", status), 60, func() bool { return work.ended.Load() == before+2 })
	}
	before, refreshed := work.ended.Load(), s.asked("PATCH /tenant/1/_apis/runtime/runnerscalesets")
	s.lab("POST", "expire", map[string]any{"queue": true}, nil)
	s.queue(2, "true", "small")
	s.until("jobs ended with another token of the queue", 60, func() bool { return work.ended.Load() == before+2 })
	if s.asked("PATCH /tenant/1/_apis/runtime/runnerscalesets") == refreshed {
		t.Error("the session was not refreshed")
	}
	if err := stop(); !errors.Is(err, context.Canceled) || work.failed.Load() != 0 {
		t.Errorf("%v, %d failed", err, work.failed.Load())
	}
}

func TestWhatEndsAListener(t *testing.T) {
	s := serve(t, service.Config{Token: "good"})
	client, ctx := s.client(), context.Background()
	set := make1(t, client, "small")
	_, stop := s.listen(client, set.ID, 1)
	if _, err := client.MessageSessionClient(ctx, set.ID, "second"); err == nil {
		t.Error("a set has two sessions")
	}
	s.fault("PATCH", "/sessions/", http.StatusNotFound, 1)
	s.lab("POST", "expire", map[string]any{"queue": true}, nil)
	time.Sleep(500 * time.Millisecond)
	if err := stop(); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a session that cannot be refreshed: %v", err)
	}
	other := make1(t, client, "medium")
	_, stop = s.listen(client, other.ID, 1)
	if err := client.DeleteRunnerScaleSet(ctx, other.ID); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := stop(); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a set that is gone: %v", err)
	}
}
