// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// How long a runner may be silent before it counts as offline, and before its job counts as lost.
const (
	offlineAfter = time.Minute
	lostAfter    = 2 * time.Minute
)

// Where a job is on its way.
const (
	queued     = "queued"
	inProgress = "in_progress"
	completed  = "completed"
)

// Job is one job; each is a workflow run of its own.
type Job struct {
	ID             int64      `json:"id"`
	RunID          int64      `json:"run_id"`
	Name           string     `json:"name"`
	Title          string     `json:"title"` // of the run, where a workflow was started
	Repository     string     `json:"repository"`
	Labels         []string   `json:"labels"`
	Script         string     `json:"script"`
	TimeoutSeconds int        `json:"timeout_seconds"`
	Status         string     `json:"status"`
	Conclusion     string     `json:"conclusion"`
	RunnerID       int64      `json:"runner_id"`
	RunnerName     string     `json:"runner_name"`
	Node           string     `json:"node"`
	ExitCode       int        `json:"exit_code"`
	CreatedAt      time.Time  `json:"created_at"`
	StartedAt      *time.Time `json:"started_at"`
	CompletedAt    *time.Time `json:"completed_at"`
	SetID          int64      `json:"scale_set_id"` // the set that it is offered to, or that has it
	Acquired       bool       `json:"acquired"`     // whether that set has it
}

// Runner is one registered runner.
type Runner struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Scope     string    `json:"scope"` // repos/<owner>/<name>, orgs/<name> or enterprises/<name>
	Labels    []string  `json:"labels"`
	Ephemeral bool      `json:"ephemeral"`
	OS        string    `json:"os"`
	Secret    string    `json:"secret"`
	JobID     int64     `json:"job_id"`
	LastSeen  time.Time `json:"last_seen"`
	SetID     int64     `json:"scale_set_id"`

	offer chan Job // set while it waits for a job
}

// Token is something that was handed out for a while.
type Token struct {
	Scope     string    `json:"scope"`
	ExpiresAt time.Time `json:"expires_at"`
}

// State is everything the service knows; it survives a restart in one file, logs beside it.
type State struct {
	mu        sync.Mutex
	directory string
	LastID    int64            `json:"last_id"`
	Jobs      []*Job           `json:"jobs"`
	Runners   []*Runner        `json:"runners"`
	Tokens    map[string]Token `json:"tokens"`   // registration tokens
	Sessions  map[string]Token `json:"sessions"` // tokens of app installations
	Admins    map[string]Token `json:"admins"`   // of controllers and listeners of scale sets
	Sets      []*ScaleSet      `json:"sets"`
	logs      map[int64][]byte
}

// OpenState reads what an earlier process left; without a directory nothing is kept.
func OpenState(directory string) (*State, error) {
	state := &State{
		directory: directory, Tokens: map[string]Token{}, Sessions: map[string]Token{}, Admins: map[string]Token{}, logs: map[int64][]byte{},
	}
	if directory == "" {
		return state, nil
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(directory, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, state); err != nil {
		return nil, err
	}
	for _, job := range state.Jobs {
		state.logs[job.ID], _ = os.ReadFile(state.logPath(job.ID))
	}
	for _, runner := range state.Runners {
		runner.LastSeen = time.Now() // it could not be heard meanwhile
	}
	for _, set := range state.Sets {
		set.alert()
		if set.Session != nil {
			set.Session.LastSeen = time.Now()
		}
	}
	return state, nil
}

func (s *State) logPath(id int64) string {
	return filepath.Join(s.directory, "job-"+itoa(id)+".log")
}

// save is called with the lock held after each change.
func (s *State) save() {
	if s.directory == "" {
		return
	}
	data, err := json.Marshal(s)
	if err != nil {
		return
	}
	path := filepath.Join(s.directory, "state.json")
	if os.WriteFile(path+".new", data, 0o600) == nil {
		os.Rename(path+".new", path)
	}
}

func (s *State) nextID() int64 {
	s.LastID++
	return s.LastID
}

func secret(prefix string) string {
	data := make([]byte, 18)
	rand.Read(data)
	return prefix + hex.EncodeToString(data)
}

// NewToken hands out a token of one of the two kinds.
func (s *State) NewToken(kind map[string]Token, prefix, scope string) (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, token := range kind {
		if time.Now().After(token.ExpiresAt) {
			delete(kind, text)
		}
	}
	text := secret(prefix)
	kind[text] = Token{Scope: scope, ExpiresAt: time.Now().Add(time.Hour)}
	s.save()
	return text, kind[text].ExpiresAt
}

// Valid says whether a token of a kind is good for a scope.
func (s *State) Valid(kind map[string]Token, text, scope string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, found := kind[text]
	return found && time.Now().Before(token.ExpiresAt) && (token.Scope == scope || token.Scope == "")
}

// NewAdmin hands out a token for the scale sets of a scope.
func (s *State) NewAdmin(scope string, life time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text, token := range s.Admins {
		if time.Now().After(token.ExpiresAt) {
			delete(s.Admins, text)
		}
	}
	token := Token{Scope: scope, ExpiresAt: time.Now().Add(life)}
	text := jwt(secret(""), token.ExpiresAt)
	s.Admins[text] = token
	s.save()
	return text
}

// ScopeOf is the scope that such a token is good for.
func (s *State) ScopeOf(text string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, found := s.Admins[text]
	return token.Scope, found && time.Now().Before(token.ExpiresAt)
}

// ExpireAdmins makes all such tokens invalid.
func (s *State) ExpireAdmins() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.Admins)
	s.save()
}

// Register adds a runner; one of the same name in the same scope is replaced.
func (s *State) Register(runner *Runner) *Runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Runners = slices.DeleteFunc(s.Runners, func(other *Runner) bool {
		return other.Scope == runner.Scope && other.Name == runner.Name
	})
	runner.ID, runner.Secret, runner.LastSeen = s.nextID(), secret("runner_"), time.Now()
	s.Runners = append(s.Runners, runner)
	s.save()
	return runner
}

// Seen finds a runner by its secret and notes that it lives.
func (s *State) Seen(secret string) *Runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, runner := range s.Runners {
		if runner.Secret == secret && secret != "" {
			runner.LastSeen = time.Now()
			return runner
		}
	}
	return nil
}

// RunnersOf lists the runners of a scope as copies, after the lost ones have been seen to.
func (s *State) RunnersOf(scope string) []Runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	var runners []Runner
	for _, runner := range s.Runners {
		if scope == "" || runner.Scope == scope {
			runners = append(runners, *runner)
		}
	}
	return runners
}

// sweep ends the jobs of runners that were silent for too long.
func (s *State) sweep() {
	for _, job := range s.Jobs {
		if job.Status != inProgress {
			continue
		}
		runner := s.runner(job.RunnerID)
		if runner != nil && time.Since(runner.LastSeen) < lostAfter {
			continue
		}
		s.lose(job)
	}
}

func (s *State) lose(job *Job) {
	s.appendLog(job.ID, []byte("The self-hosted runner lost communication with the server.\n"))
	s.finish(job, "failure", -1)
}

func (s *State) runner(id int64) *Runner {
	for _, runner := range s.Runners {
		if runner.ID == id {
			return runner
		}
	}
	return nil
}

func (s *State) job(id int64) *Job {
	for _, job := range s.Jobs {
		if job.ID == id {
			return job
		}
	}
	return nil
}

// Remove takes a runner off the list, unless it is busy.
func (s *State) Remove(id int64, scope string) (found, busy bool, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	runner := s.runner(id)
	if runner == nil || (scope != "" && runner.Scope != scope) {
		return false, false, ""
	}
	if runner.JobID != 0 {
		return true, true, runner.Name
	}
	s.drop(runner)
	s.save()
	return true, false, runner.Name
}

func (s *State) drop(runner *Runner) {
	s.Runners = slices.DeleteFunc(s.Runners, func(other *Runner) bool { return other == runner })
	runner.offer = nil
}

// Enqueue adds a job and gives it to a waiting runner if one fits.
func (s *State) Enqueue(job *Job) Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	job.ID, job.RunID = s.nextID(), s.nextID()
	job.Status, job.CreatedAt = queued, time.Now()
	s.Jobs = append(s.Jobs, job)
	s.dispatch()
	s.save()
	return *job
}

// dispatch gives queued jobs, oldest first, to waiting runners, the one registered first. A runner of a set takes jobs
// that its set has acquired, and no others; a job that no runner takes is offered to a set.
func (s *State) dispatch() {
	for _, job := range s.Jobs {
		if job.Status != queued {
			continue
		}
		for _, runner := range s.Runners {
			if runner.offer == nil || runner.JobID != 0 || !fits(job, runner) || !ofSet(job, runner) {
				continue
			}
			now := time.Now()
			job.Status, job.StartedAt = inProgress, &now
			job.RunnerID, job.RunnerName = runner.ID, runner.Name
			runner.JobID, runner.LastSeen = job.ID, now
			runner.offer <- *job
			runner.offer = nil
			s.notify("JobStarted", job)
			break
		}
		if job.Status == queued && job.SetID == 0 {
			s.offer(job)
		}
	}
}

func ofSet(job *Job, runner *Runner) bool {
	return runner.SetID == job.SetID && (job.SetID == 0 || job.Acquired)
}

func fits(job *Job, runner *Runner) bool {
	kind, name, _ := strings.Cut(runner.Scope, "/")
	owner, _, _ := strings.Cut(job.Repository, "/")
	if kind == "repos" && !strings.EqualFold(name, job.Repository) || kind == "orgs" && !strings.EqualFold(name, owner) {
		return false
	}
	for _, label := range job.Labels {
		if !slices.ContainsFunc(runner.Labels, func(own string) bool { return strings.EqualFold(own, label) }) {
			return false
		}
	}
	return true
}

// JobOf is the number of the job that a runner has, or 0.
func (s *State) JobOf(runner *Runner) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return runner.JobID
}

// Wait gives a runner its next job, or nil when the time is over or the runner hung up.
func (s *State) Wait(runner *Runner, hungUp <-chan struct{}, patience time.Duration) *Job {
	offer := make(chan Job, 1)
	s.mu.Lock()
	// Who asks for another job was started again, and knows nothing of the one that it had.
	if job := s.job(runner.JobID); job != nil {
		s.lose(job)
		s.save()
		if runner.Ephemeral {
			s.mu.Unlock()
			return nil
		}
	}
	runner.offer = offer
	s.dispatch()
	s.save()
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	gone := false
	select {
	case job := <-offer:
		return &job
	case <-timer.C:
	case <-hungUp:
		gone = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if runner.offer == offer {
		runner.offer = nil
	}
	select {
	case given := <-offer: // in the last moment
		if !gone {
			return &given
		}
		job := s.job(given.ID)
		job.Status, job.StartedAt, job.RunnerID, job.RunnerName = queued, nil, 0, ""
		runner.JobID = 0
		s.dispatch()
		s.save()
	default:
	}
	return nil
}

// AppendLog adds to a job's log.
func (s *State) AppendLog(id int64, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appendLog(id, data)
}

func (s *State) appendLog(id int64, data []byte) {
	s.logs[id] = append(s.logs[id], data...)
	if s.directory == "" {
		return
	}
	if file, err := os.OpenFile(s.logPath(id), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err == nil {
		file.Write(data)
		file.Close()
	}
}

// Log is what a job has printed so far.
func (s *State) Log(id int64) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs[id])
}

// SetNode notes where a job runs, as its runner says.
func (s *State) SetNode(id int64, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if job := s.job(id); job != nil && node != "" {
		job.Node = node
	}
}

// Complete ends a job and its ephemeral runner's registration.
func (s *State) Complete(id int64, conclusion string, exitCode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if job := s.job(id); job != nil && job.Status != completed {
		s.finish(job, conclusion, exitCode)
	}
	s.save()
}

func (s *State) finish(job *Job, conclusion string, exitCode int) {
	now := time.Now()
	job.Status, job.Conclusion, job.ExitCode, job.CompletedAt = completed, conclusion, exitCode, &now
	s.notify("JobCompleted", job)
	defer s.dispatch() // its set has room for another one
	runner := s.runner(job.RunnerID)
	if runner == nil || runner.JobID != job.ID {
		return
	}
	runner.JobID = 0
	if runner.Ephemeral {
		s.drop(runner)
	}
}

// Cancel takes a queued job off; a running one goes on.
func (s *State) Cancel(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	job := s.job(id)
	if job == nil || job.Status != queued {
		return false
	}
	s.finish(job, "cancelled", -1)
	s.save()
	return true
}

// JobsWhere lists jobs as copies.
func (s *State) JobsWhere(keep func(*Job) bool) []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	jobs := []Job{}
	for _, job := range s.Jobs {
		if keep(job) {
			jobs = append(jobs, *job)
		}
	}
	return jobs
}
