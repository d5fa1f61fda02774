// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// selfTest is the one workflow that every repository of the lab has, on its branch main. Its title holds its input id, and its one job asks for
// the label that its input runner says.
const (
	selfTest       = "runnerfleet-self-test.yml"
	selfTestScript = "dagger core version && echo on $NODE_NAME"
)

// workflows starts that workflow, and tells of its runs.
func (s *Service) workflows(signedIn func(string, http.HandlerFunc)) {
	const actions = "/repos/{owner}/{repository}/actions"
	known := func(do http.HandlerFunc) http.HandlerFunc {
		return func(answer http.ResponseWriter, request *http.Request) {
			if request.PathValue("workflow") != selfTest {
				fail(answer, http.StatusNotFound, "Not Found")
				return
			}
			do(answer, request)
		}
	}
	signedIn("POST "+actions+"/workflows/{workflow}/dispatches", known(s.dispatchWorkflow))
	signedIn("GET "+actions+"/workflows/{workflow}/runs", known(func(answer http.ResponseWriter, request *http.Request) {
		runs := []map[string]any{}
		jobs := s.state.JobsWhere(func(job *Job) bool {
			return job.Title != "" && strings.EqualFold(job.Repository, repositoryOf(request))
		})
		for index := range jobs { // the newest first
			runs = append(runs, workflowRun(request, &jobs[len(jobs)-1-index]))
		}
		reply(answer, http.StatusOK, map[string]any{"total_count": len(runs), "workflow_runs": page(answer, request, runs)})
	}))
	ofRun := func(do func(http.ResponseWriter, *http.Request, *Job)) http.HandlerFunc {
		return func(answer http.ResponseWriter, request *http.Request) {
			jobs := s.state.JobsWhere(func(job *Job) bool {
				return job.RunID == pathID(request, "run") && strings.EqualFold(job.Repository, repositoryOf(request))
			})
			if len(jobs) == 0 {
				fail(answer, http.StatusNotFound, "Not Found")
				return
			}
			do(answer, request, &jobs[0])
		}
	}
	signedIn("GET "+actions+"/runs/{run}", ofRun(func(answer http.ResponseWriter, request *http.Request, job *Job) {
		reply(answer, http.StatusOK, workflowRun(request, job))
	}))
	signedIn("POST "+actions+"/runs/{run}/cancel", ofRun(func(answer http.ResponseWriter, _ *http.Request, job *Job) {
		if !s.state.Cancel(job.ID) {
			fail(answer, http.StatusConflict, "Cannot cancel a workflow run that is completed.")
			return
		}
		reply(answer, http.StatusAccepted, map[string]any{})
	}))
}

func (s *Service) dispatchWorkflow(answer http.ResponseWriter, request *http.Request) {
	var wanted struct {
		Ref    string            `json:"ref"`
		Inputs map[string]string `json:"inputs"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(answer, request.Body, 1<<16)).Decode(&wanted); err != nil {
		fail(answer, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	if wanted.Ref != "main" && wanted.Ref != "refs/heads/main" {
		fail(answer, http.StatusUnprocessableEntity, "No ref found for: "+wanted.Ref)
		return
	}
	for name := range wanted.Inputs {
		if name != "id" && name != "runner" {
			fail(answer, http.StatusUnprocessableEntity, fmt.Sprintf("Unexpected inputs provided: [%q]", name))
			return
		}
	}
	for _, name := range []string{"id", "runner"} {
		if wanted.Inputs[name] == "" {
			fail(answer, http.StatusUnprocessableEntity, fmt.Sprintf("Required input '%s' not provided", name))
			return
		}
	}
	s.state.Enqueue(&Job{
		Name: "self-test", Title: "runnerfleet self-test " + wanted.Inputs["id"], Repository: repositoryOf(request),
		Labels: []string{wanted.Inputs["runner"]}, Script: selfTestScript, TimeoutSeconds: 600,
	})
	answer.WriteHeader(http.StatusNoContent)
}

func workflowRun(request *http.Request, job *Job) map[string]any {
	return map[string]any{
		"id": job.RunID, "name": "runnerfleet self-test", "display_title": job.Title, "event": "workflow_dispatch",
		"path": ".github/workflows/" + selfTest, "head_branch": "main", "status": job.Status, "conclusion": nullable(job.Conclusion),
		"html_url":   fmt.Sprintf("http://%s/%s/actions/runs/%d", request.Host, job.Repository, job.RunID),
		"created_at": job.CreatedAt.UTC().Format(time.RFC3339),
	}
}
