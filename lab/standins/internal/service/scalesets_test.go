// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// setCaller is a controller and its listener.
type setCaller struct {
	caller
	admin    string
	set      int
	session  string
	queue    string
	messages string
}

func serveSets(t *testing.T, config Config) (caller, *Service) {
	t.Helper()
	state, err := OpenState("")
	if err != nil {
		t.Fatal(err)
	}
	service, err := New(config, state)
	if err != nil {
		t.Fatal(err)
	}
	service.patience = 300 * time.Millisecond
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	return caller{t, server.URL, config.Token}, service
}

// enter registers for a scope and returns the token of its scale sets.
func (c caller) enter(scope string) string {
	c.t.Helper()
	given, _ := c.call("POST", "/api/v3/"+scope+"/actions/runners/registration-token", c.token, nil, 201)
	content, _ := json.Marshal(map[string]string{
		"url": c.url + "/" + strings.TrimPrefix(strings.TrimPrefix(scope, "orgs/"), "repos/"), "runner_event": "register",
	})
	request, _ := http.NewRequest("POST", c.url+"/api/v3/actions/runner-registration", bytes.NewReader(content))
	request.Header.Set("Authorization", "RemoteAuth "+given["token"].(string))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var found struct{ URL, Token string }
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil || found.URL != c.url+tenant+"/" || strings.Count(found.Token, ".") != 2 {
		c.t.Fatalf("registration: %v %+v", err, found)
	}
	return found.Token
}

func (c caller) makeSet(scope, name string) *setCaller {
	c.t.Helper()
	admin := c.enter(scope)
	set, _ := c.call("POST", tenant+"/_apis/runtime/runnerscalesets?api-version=6.0-preview", admin, map[string]any{
		"name": name, "runnerGroupId": 1, "labels": []any{map[string]any{"type": "System", "name": name}},
		"RunnerSetting": map[string]any{"disableUpdate": true}, "createdOn": "0001-01-01T00:00:00Z",
	}, 200)
	return &setCaller{caller: c, admin: admin, set: int(set["id"].(float64))}
}

func (c *setCaller) path(more string) string {
	return fmt.Sprintf("%s/_apis/runtime/runnerscalesets/%d%s", tenant, c.set, more)
}

func (c *setCaller) listen() *setCaller {
	c.t.Helper()
	session, _ := c.call("POST", c.path("/sessions"), c.admin, map[string]any{"ownerName": "listener"}, 200)
	c.session, c.queue = session["sessionId"].(string), session["messageQueueAccessToken"].(string)
	c.messages = strings.TrimPrefix(session["messageQueueUrl"].(string), c.url)
	if len(session["statistics"].(map[string]any)) != 7 {
		c.t.Errorf("statistics %v", session["statistics"])
	}
	return c
}

// poll wants a message with these events, and returns it.
func (c *setCaller) poll(last int, capacity string, kinds ...string) (int, []map[string]any, map[string]any) {
	c.t.Helper()
	request, _ := http.NewRequest("GET", fmt.Sprintf("%s%s&lastMessageId=%d", c.url, c.messages, last), nil)
	request.Header.Set("Authorization", "Bearer "+c.queue)
	if capacity != "" {
		request.Header.Set("X-ScaleSetMaxCapacity", capacity)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if len(kinds) == 0 {
		if answer.StatusCode != 202 || len(text) > 0 {
			c.t.Fatalf("%d %s, want nothing", answer.StatusCode, text)
		}
		return 0, nil, nil
	}
	var message struct {
		MessageID   int
		MessageType string
		Body        string
		Statistics  map[string]any
	}
	var events []map[string]any
	if err := json.Unmarshal(text, &message); err != nil || json.Unmarshal([]byte(message.Body), &events) != nil {
		c.t.Fatalf("%d %s", answer.StatusCode, text)
	}
	found := []string{}
	for _, event := range events {
		found = append(found, event["messageType"].(string))
	}
	if strings.Join(found, " ") != strings.Join(kinds, " ") {
		c.t.Fatalf("events %v, want %v", found, kinds)
	}
	return message.MessageID, events, message.Statistics
}

func (c *setCaller) acquire(want int, ids ...int) {
	c.t.Helper()
	answer, _ := c.call("POST", c.path("/acquirejobs"), c.queue, ids, 200)
	if int(answer["count"].(float64)) != want {
		c.t.Fatalf("acquired %v, want %d", answer, want)
	}
}

func (c *setCaller) announce(name string, status int) map[string]any {
	c.t.Helper()
	answer, _ := c.call("POST", c.path("/generatejitconfig"), c.admin, map[string]any{"name": name, "workFolder": "_work"}, status)
	return answer
}

func TestAJobOfAScaleSetFromQueueToEnd(t *testing.T) {
	c, service := serveSets(t, Config{Token: "good"})
	set := c.makeSet("orgs/a", "small").listen()
	set.poll(0, "5")
	id := c.queue("a/b", "small")
	first, _, figures := set.poll(0, "5", "JobAvailable")
	if figures["totalAvailableJobs"] != 1.0 || figures["totalAssignedJobs"] != 0.0 {
		t.Errorf("figures %v", figures)
	}
	again, _, _ := set.poll(0, "5", "JobAvailable") // what nobody deleted comes again
	if again != first {
		t.Errorf("message %d, then %d", first, again)
	}
	set.acquire(1, id)
	set.acquire(0, id)
	c.call("DELETE", strings.Split(set.messages, "?")[0]+fmt.Sprint("/", first), set.queue, nil, 204)
	second, _, figures := set.poll(first, "5", "JobAssigned")
	if figures["totalAssignedJobs"] != 1.0 || figures["totalAvailableJobs"] != 0.0 {
		t.Errorf("figures %v", figures)
	}
	runner := set.announce("pod-1", 200)["runner"].(map[string]any)
	set.announce("pod-1", 409)
	secret := service.state.RunnersOf("orgs/a")[0].Secret
	c.call("POST", "/_lab/runner/wait", secret, nil, 200)
	agent := fmt.Sprintf("%s/_apis/distributedtask/pools/0/agents/%v", tenant, runner["id"])
	if refused, _ := c.call("DELETE", agent, set.admin, nil, 400); refused["typeName"] != "JobStillRunningException" {
		t.Errorf("refusal %v", refused)
	}
	third, events, figures := set.poll(second, "5", "JobStarted")
	if events[0]["runnerName"] != "pod-1" || events[0]["runnerId"] != runner["id"] || figures["totalRunningJobs"] != 1.0 {
		t.Errorf("%v %v", events, figures)
	}
	c.call("POST", "/_lab/runner/complete", secret, map[string]any{"conclusion": "success", "exit_code": 0}, 204)
	_, events, figures = set.poll(third, "5", "JobCompleted")
	if events[0]["result"] != "succeeded" || figures["totalAssignedJobs"] != 0.0 || figures["totalRegisteredRunners"] != 0.0 {
		t.Errorf("%v %v", events, figures)
	}
	c.call("GET", agent, set.admin, nil, 404)
	c.call("DELETE", agent, set.admin, nil, 204)
	c.call("DELETE", tenant+"/_apis/distributedtask/pools/0/agents/0", set.admin, nil, 204)
}

func TestAListenerIsNotOfferedMoreThanItCanRun(t *testing.T) {
	c, _ := serveSets(t, Config{Token: "good"})
	set := c.makeSet("orgs/a", "small").listen()
	set.poll(0, "2")
	ids := []int{c.queue("a/b", "small"), c.queue("a/b", "small"), c.queue("a/b", "small")}
	message, _, figures := set.poll(0, "2", "JobAvailable", "JobAvailable")
	set.acquire(2, ids...)
	if figures["totalAvailableJobs"] != 2.0 {
		t.Errorf("figures %v", figures)
	}
	message, _, _ = set.poll(message, "2", "JobAssigned", "JobAssigned")
	set.poll(message, "2")
	set.poll(message, "3", "JobAvailable")
}

func TestOneSessionForASet(t *testing.T) {
	c, service := serveSets(t, Config{Token: "good"})
	set := c.makeSet("repos/a/b", "small").listen()
	c.call("POST", set.path("/sessions"), set.admin, map[string]any{"ownerName": "other"}, 409)
	service.state.Sets[0].Session.LastSeen = time.Now().Add(-2 * sessionLife)
	first := set.session
	set.listen()
	c.call("PATCH", set.path("/sessions/"+first), set.admin, nil, 404)
	before := set.queue
	refreshed, _ := c.call("PATCH", set.path("/sessions/"+set.session), set.admin, nil, 200)
	set.queue = refreshed["messageQueueAccessToken"].(string)
	c.call("GET", set.messages, before, nil, 401)
	c.call("GET", set.messages, set.admin, nil, 401)
	c.call("GET", set.path(""), set.queue, nil, 401)
	set.poll(0, "1")
	c.call("DELETE", set.path("/sessions/"+set.session), set.admin, nil, 204)
	set.listen()
	c.call("POST", "/_lab/expire", "", map[string]any{"queue": true}, 204)
	c.call("GET", set.messages, set.queue, nil, 401)
	c.call("POST", "/_lab/expire", "", map[string]any{"admin": true}, 204)
	c.call("GET", set.path(""), set.admin, nil, 401)
}

func TestSetsOfScopesAndGroups(t *testing.T) {
	c, _ := serveSets(t, Config{Token: "good", Groups: []string{"trusted"}})
	set := c.makeSet("orgs/a", "small")
	other := c.makeSet("orgs/b", "small")
	if set.set == other.set {
		t.Error("two owners share a set")
	}
	c.call("GET", set.path(""), other.admin, nil, 404)
	groups, _ := c.call("GET", tenant+"/_apis/runtime/runnergroups/?groupName=trusted", set.admin, nil, 200)
	group := groups["value"].([]any)[0].(map[string]any)
	if groups["count"] != 1.0 || group["id"] != 2.0 || group["isDefaultGroup"] != false {
		t.Errorf("groups %v", groups)
	}
	none, _ := c.call("GET", tenant+"/_apis/runtime/runnergroups/?groupName=none", set.admin, nil, 200)
	if none["count"] != 0.0 {
		t.Errorf("groups %v", none)
	}
	changed, _ := c.call("PATCH", set.path(""), set.admin, map[string]any{"runnerGroupId": 2, "createdOn": "0001-01-01T00:00:00Z"}, 200)
	if changed["runnerGroupName"] != "trusted" || changed["name"] != "small" {
		t.Errorf("changed %v", changed)
	}
	found, _ := c.call("GET", tenant+"/_apis/runtime/runnerscalesets?name=small&runnerGroupId=2", set.admin, nil, 200)
	gone, _ := c.call("GET", tenant+"/_apis/runtime/runnerscalesets?name=small&runnerGroupId=1", set.admin, nil, 200)
	if found["count"] != 1.0 || gone["count"] != 0.0 {
		t.Errorf("%v %v", found, gone)
	}
	c.call("DELETE", set.path(""), set.admin, nil, 204)
	if refused, _ := c.call("DELETE", set.path(""), set.admin, nil, 404); refused["typeName"] != "RunnerScaleSetNotFoundException" {
		t.Errorf("refusal %v", refused)
	}
}

func TestJobsOfADeletedSetAreOfferedAnew(t *testing.T) {
	c, _ := serveSets(t, Config{Token: "good"})
	set := c.makeSet("orgs/a", "small").listen()
	set.poll(0, "5")
	id := c.queue("a/b", "small")
	set.poll(0, "5", "JobAvailable")
	set.acquire(1, id)
	c.call("DELETE", set.path(""), set.admin, nil, 204)
	next := c.makeSet("orgs/a", "small").listen()
	next.poll(0, "5", "JobAvailable")
	next.acquire(1, id)
}

func TestALegacyRunnerAndASetDoNotShareAJob(t *testing.T) {
	c, _ := serveSets(t, Config{Token: "good"})
	set := c.makeSet("orgs/a", "small").listen()
	id := c.queue("a/b", "small")
	set.acquire(1, id)
	secret := c.register("a/b", "legacy", "small")
	c.call("POST", "/_lab/runner/register", "", map[string]any{"scope": "repos/a/b", "token": "made up"}, 401)
	done := make(chan int)
	go func() {
		request, _ := http.NewRequest("POST", c.url+"/_lab/runner/wait", nil)
		request.Header.Set("Authorization", "Bearer "+secret)
		client := http.Client{Timeout: time.Second}
		if answer, err := client.Do(request); err == nil {
			answer.Body.Close()
			done <- answer.StatusCode
			return
		}
		done <- 0
	}()
	if status := <-done; status == 200 {
		t.Error("a legacy runner took the job of a set")
	}
}

func TestFaults(t *testing.T) {
	c, _ := serveSets(t, Config{Token: "good"})
	set := c.makeSet("orgs/a", "small")
	c.call("POST", "/_lab/faults", "", map[string]any{"method": "GET", "path": "/runnerscalesets/", "status": 502, "count": 2}, 204)
	c.call("GET", set.path(""), set.admin, nil, 502)
	c.call("PATCH", set.path(""), set.admin, map[string]any{}, 200)
	c.call("GET", set.path(""), set.admin, nil, 502)
	c.call("GET", set.path(""), set.admin, nil, 200)
	c.call("POST", "/_lab/faults", "", map[string]any{"path": ".", "status": 429, "type_name": "Slow", "seconds": 30}, 204)
	if refused, _ := c.call("GET", set.path(""), set.admin, nil, 429); refused["typeName"] != "Slow" {
		t.Errorf("refusal %v", refused)
	}
	c.call("GET", "/_lab/jobs", "", nil, 200)
	c.call("POST", "/_lab/runner/wait", "", nil, 429)
	c.call("DELETE", "/_lab/faults", "", nil, 204)
	c.call("GET", set.path(""), set.admin, nil, 200)
	for _, bad := range []map[string]any{{"path": "[", "status": 500, "count": 1}, {"path": ".", "status": 500}, {"path": ".", "count": 1}} {
		c.call("POST", "/_lab/faults", "", bad, 422)
	}
}
