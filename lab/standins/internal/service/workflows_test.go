// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"fmt"
	"testing"
)

const actions = "/api/v3/repos/lab/example/actions"

func TestAWorkflowThatIsStartedIsARunWithItsTitle(t *testing.T) {
	lab := serve(t, Config{Token: "t"}, "")
	inputs := map[string]string{"id": "word-1", "runner": "small"}
	lab.call("POST", actions+"/workflows/"+selfTest+"/dispatches", "t", map[string]any{"ref": "main", "inputs": inputs}, 204)
	lab.queue("lab/example", "small") // a job that nobody's workflow started
	listed, _ := lab.call("GET", actions+"/workflows/"+selfTest+"/runs?event=workflow_dispatch", "t", nil, 200)
	runs := listed["workflow_runs"].([]any)
	if len(runs) != 1 {
		t.Fatalf("runs: %v", runs)
	}
	run := runs[0].(map[string]any)
	if run["display_title"] != "runnerfleet self-test word-1" || run["status"] != "queued" || run["conclusion"] != nil {
		t.Fatalf("run: %v", run)
	}
	one := fmt.Sprintf("%s/runs/%.0f", actions, run["id"])
	jobs, _ := lab.call("GET", one+"/jobs", "t", nil, 200)
	if job := jobs["jobs"].([]any)[0].(map[string]any); job["name"] != "self-test" || job["labels"].([]any)[0] != "small" {
		t.Fatalf("job: %v", job)
	}
	lab.call("POST", one+"/cancel", "t", nil, 202)
	if ended, _ := lab.call("GET", one, "t", nil, 200); ended["status"] != "completed" || ended["conclusion"] != "cancelled" {
		t.Fatalf("run: %v", ended)
	}
	lab.call("POST", one+"/cancel", "t", nil, 409)
}

func TestAWorkflowThatCannotBeStarted(t *testing.T) {
	lab := serve(t, Config{Token: "t", Repositories: []string{"lab/example"}}, "")
	good := map[string]string{"id": "a", "runner": "small"}
	for name, one := range map[string]struct {
		path, token string
		ref         string
		inputs      map[string]string
		status      int
	}{
		"another workflow":   {actions + "/workflows/ci.yml/dispatches", "t", "main", good, 404},
		"another repository": {"/api/v3/repos/lab/other/actions/workflows/" + selfTest + "/dispatches", "t", "main", good, 404},
		"another token":      {actions + "/workflows/" + selfTest + "/dispatches", "x", "main", good, 401},
		"another branch":     {actions + "/workflows/" + selfTest + "/dispatches", "t", "gone", good, 422},
		"an input more":      {actions + "/workflows/" + selfTest + "/dispatches", "t", "main", map[string]string{"id": "a", "runner": "b", "x": "c"}, 422},
		"an input less":      {actions + "/workflows/" + selfTest + "/dispatches", "t", "main", map[string]string{"id": "a"}, 422},
	} {
		t.Run(name, func(t *testing.T) {
			caller{t, lab.url, one.token}.call("POST", one.path, one.token, map[string]any{"ref": one.ref, "inputs": one.inputs}, one.status)
		})
	}
	lab.call("GET", actions+"/runs/99", "t", nil, 404)
}
