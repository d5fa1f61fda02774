// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How long a session lives whose listener is not heard, and how long a token for its messages does.
const (
	sessionLife    = time.Minute
	queueTokenLife = time.Hour
)

// ScaleSet is a set of runners that asks for jobs itself, one message after the other.
type ScaleSet struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	GroupID   int64     `json:"group_id"`
	Scope     string    `json:"scope"`
	Labels    []string  `json:"labels"`
	CreatedOn time.Time `json:"created_on"`
	Messages  []Message `json:"messages"`
	LastID    int64     `json:"last_message_id"`
	Session   *Session  `json:"session"`
	// Capacity is what the listener last said it could run; -1 where it says nothing, as the older one does.
	Capacity int `json:"capacity"`

	wake chan struct{} // closed when a message comes
}

// Session is what one listener has of a set.
type Session struct {
	ID       string    `json:"id"`
	Owner    string    `json:"owner"`
	Token    string    `json:"token"`
	Expires  time.Time `json:"expires"`
	LastSeen time.Time `json:"last_seen"`
}

// Message is what a listener gets until it deletes it.
type Message struct {
	ID        int64            `json:"id"`
	Events    []map[string]any `json:"events"`
	Delivered bool             `json:"delivered"`
}

// Statistics are the figures that a listener scales by: Assigned counts the jobs that run as well.
type Statistics struct {
	Available  int `json:"totalAvailableJobs"`
	Acquired   int `json:"totalAcquiredJobs"`
	Assigned   int `json:"totalAssignedJobs"`
	Running    int `json:"totalRunningJobs"`
	Registered int `json:"totalRegisteredRunners"`
	Busy       int `json:"totalBusyRunners"`
	Idle       int `json:"totalIdleRunners"`
}

// Refusal is an answer of the service other than what was asked for.
type Refusal struct {
	Status   int
	TypeName string
	Message  string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(status int, typeName, format string, about ...any) *Refusal {
	return &Refusal{status, typeName, fmt.Sprintf(format, about...)}
}

func unknownSet(id int64) *Refusal {
	return refuse(404, "RunnerScaleSetNotFoundException", "No runner scale set found with identifier %d.", id)
}

func (s *State) set(id int64, scope string) *ScaleSet {
	for _, set := range s.Sets {
		if set.ID == id && (scope == "" || set.Scope == scope) {
			return set
		}
	}
	return nil
}

// SetsWhere lists sets as copies.
func (s *State) SetsWhere(keep func(*ScaleSet) bool) []ScaleSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	sets := []ScaleSet{}
	for _, set := range s.Sets {
		if keep(set) {
			sets = append(sets, *set)
		}
	}
	return sets
}

// CreateSet adds a set; names are unique in a group of a scope.
func (s *State) CreateSet(scope, name string, group int64, labels []string) (ScaleSet, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, set := range s.Sets {
		if set.Scope == scope && set.GroupID == group && strings.EqualFold(set.Name, name) {
			return ScaleSet{}, refuse(409, "RunnerScaleSetExistsException", "Runner scale set %s already exists in the group.", name)
		}
	}
	set := &ScaleSet{
		ID: s.nextID(), Name: name, GroupID: group, Scope: scope, Labels: labels, CreatedOn: time.Now(), Capacity: -1,
		wake: make(chan struct{}),
	}
	s.Sets = append(s.Sets, set)
	s.dispatch()
	s.save()
	return *set, nil
}

// ChangeSet takes what is given and leaves the rest.
func (s *State) ChangeSet(scope string, id int64, name string, group int64, labels []string) (ScaleSet, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id, scope)
	if set == nil {
		return ScaleSet{}, unknownSet(id)
	}
	if name != "" {
		set.Name = name
	}
	if group != 0 {
		set.GroupID = group
	}
	if len(labels) > 0 {
		set.Labels = labels
	}
	s.dispatch()
	s.save()
	return *set, nil
}

// DeleteSet takes a set and its idle runners away; jobs that nobody has begun are offered anew.
func (s *State) DeleteSet(scope string, id int64) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id, scope)
	if set == nil {
		return unknownSet(id)
	}
	s.Sets = slices.DeleteFunc(s.Sets, func(other *ScaleSet) bool { return other == set })
	close(set.wake)
	s.Runners = slices.DeleteFunc(s.Runners, func(runner *Runner) bool { return runner.SetID == id && runner.JobID == 0 })
	for _, job := range s.Jobs {
		if job.SetID == id && job.Status == queued {
			job.SetID, job.Acquired = 0, false
		}
	}
	s.dispatch()
	s.save()
	return nil
}

// Statistics of a set as it is now.
func (s *State) Statistics(id int64) Statistics {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statistics(id)
}

func (s *State) statistics(id int64) (found Statistics) {
	for _, job := range s.Jobs {
		switch {
		case job.SetID != id || job.Status == completed:
		case !job.Acquired:
			found.Available++
		default:
			found.Acquired++
			found.Assigned++
			if job.Status == inProgress {
				found.Running++
			}
		}
	}
	for _, runner := range s.Runners {
		switch {
		case runner.SetID != id:
		case runner.JobID != 0:
			found.Registered++
			found.Busy++
		default:
			found.Registered++
			found.Idle++
		}
	}
	return found
}

// OpenSession gives a set to one listener; a second is refused for as long as the first is heard.
func (s *State) OpenSession(scope string, id int64, owner string) (Session, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id, scope)
	if set == nil {
		return Session{}, unknownSet(id)
	}
	if set.Session != nil && time.Since(set.Session.LastSeen) < sessionLife {
		return Session{}, refuse(409, "RunnerScaleSetSessionConflictException",
			"The runner scale set %s already has an active session for owner %s.", set.Name, set.Session.Owner)
	}
	set.Session = &Session{
		ID: uuid(), Owner: owner, Token: secret("queue_"), Expires: time.Now().Add(queueTokenLife), LastSeen: time.Now(),
	}
	s.dispatch()
	s.save()
	return *set.Session, nil
}

// RefreshSession gives a session another token for its messages.
func (s *State) RefreshSession(scope string, id int64, session string) (Session, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id, scope)
	if set == nil {
		return Session{}, unknownSet(id)
	}
	if set.Session == nil || set.Session.ID != session {
		return Session{}, refuse(404, "RunnerScaleSetSessionNotFoundException", "No session %s of runner scale set %s.", session, set.Name)
	}
	set.Session.Token, set.Session.Expires = secret("queue_"), time.Now().Add(queueTokenLife)
	set.Session.LastSeen = time.Now()
	s.save()
	return *set.Session, nil
}

// CloseSession ends a session; what is not there is ended already.
func (s *State) CloseSession(scope string, id int64, session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set := s.set(id, scope); set != nil && set.Session != nil && set.Session.ID == session {
		set.Session = nil
		s.save()
	}
}

// OfSession finds the set whose session has this token, and notes that its listener lives.
func (s *State) OfSession(token string) (int64, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, set := range s.Sets {
		if set.Session != nil && token != "" && set.Session.Token == token && time.Now().Before(set.Session.Expires) {
			set.Session.LastSeen = time.Now()
			return set.ID, nil
		}
	}
	return 0, refuse(401, "MessageQueueTokenExpiredException", "The message queue token is not valid.")
}

// ExpireSessions makes the tokens of all sessions invalid; they have to be refreshed.
func (s *State) ExpireSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, set := range s.Sets {
		if set.Session != nil {
			set.Session.Expires = time.Now()
		}
		set.alert()
	}
}

// Poll waits for the first message after `last` that is not deleted, or for the end of its patience: then there is none.
func (s *State) Poll(id, last int64, capacity int, hungUp <-chan struct{}, patience time.Duration) (*Message, Statistics, *Refusal) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		s.mu.Lock()
		set := s.set(id, "")
		if set == nil {
			s.mu.Unlock()
			return nil, Statistics{}, unknownSet(id)
		}
		if set.Session != nil && time.Now().After(set.Session.Expires) {
			s.mu.Unlock()
			return nil, Statistics{}, nil // the next request is told that its token has ended
		}
		if set.Capacity != capacity {
			set.Capacity = capacity
			s.dispatch()
		}
		s.sweep()
		for index := range set.Messages {
			if message := &set.Messages[index]; message.ID > last {
				message.Delivered = true
				copied, figures := *message, s.statistics(id)
				s.save()
				s.mu.Unlock()
				return &copied, figures, nil
			}
		}
		wake := set.wake
		s.mu.Unlock()
		select {
		case <-wake:
		case <-timer.C:
			return nil, Statistics{}, nil
		case <-hungUp:
			return nil, Statistics{}, nil
		}
	}
}

// DeleteMessage takes a message off the list of a set.
func (s *State) DeleteMessage(id, message int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if set := s.set(id, ""); set != nil {
		set.Messages = slices.DeleteFunc(set.Messages, func(other Message) bool { return other.ID == message })
		s.save()
	}
}

// Acquirable lists the jobs that are offered to a set and that it has not taken.
func (s *State) Acquirable(id int64) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := []map[string]any{}
	for _, job := range s.Jobs {
		if job.SetID == id && !job.Acquired && job.Status == queued {
			events = append(events, event("JobAvailable", job))
		}
	}
	return events
}

// Acquire assigns offered jobs to a set and says which of them it got.
func (s *State) Acquire(id int64, wanted []int64) ([]int64, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id, "")
	if set == nil {
		return nil, unknownSet(id)
	}
	got := []int64{}
	for _, number := range wanted {
		job := s.job(number)
		if job == nil || job.SetID != id || job.Acquired || job.Status != queued {
			continue
		}
		job.Acquired = true
		set.tell(event("JobAssigned", job))
		got = append(got, number)
	}
	s.dispatch()
	s.save()
	return got, nil
}

// Announce makes the agent of a runner that will come with a configuration of its own.
func (s *State) Announce(scope string, id int64, name string) (Runner, *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id, scope)
	if set == nil {
		return Runner{}, unknownSet(id)
	}
	for _, other := range s.Runners {
		if other.Name == name && other.Scope == set.Scope {
			return Runner{}, refuse(409, "AgentExistsException", "Already exists - a runner with the name %s.", name)
		}
	}
	runner := &Runner{
		ID: s.nextID(), Name: name, Scope: set.Scope, Labels: append([]string{"self-hosted", "Linux", "X64", set.Name}, set.Labels...),
		Ephemeral: true, OS: "Linux", Secret: secret("runner_"), SetID: id,
	}
	s.Runners = append(s.Runners, runner)
	s.save()
	return *runner, nil
}

// offer gives a queued job that no set has to the set that fits it and has room, the narrowest scope first.
func (s *State) offer(job *Job) {
	var best *ScaleSet
	for _, set := range s.Sets {
		if !set.takes(job) || set.full(s.statistics(set.ID)) {
			continue
		}
		if best == nil || strings.Count(set.Scope, "/") > strings.Count(best.Scope, "/") {
			best = set
		}
	}
	if best != nil {
		job.SetID = best.ID
		best.tell(event("JobAvailable", job))
	}
}

// takes says whether a job may go to the set: its scope, and the set's name or its labels.
func (s *ScaleSet) takes(job *Job) bool {
	labels := append([]string{s.Name, "self-hosted", "Linux", "X64"}, s.Labels...)
	return len(job.Labels) > 0 && fits(job, &Runner{Scope: s.Scope, Labels: labels})
}

func (s *ScaleSet) full(now Statistics) bool {
	return s.Session == nil || s.Capacity >= 0 && now.Available+now.Assigned >= s.Capacity
}

// tell adds to the message that is not delivered yet, or begins another.
func (s *ScaleSet) tell(event map[string]any) {
	if last := len(s.Messages) - 1; last >= 0 && !s.Messages[last].Delivered {
		s.Messages[last].Events = append(s.Messages[last].Events, event)
	} else {
		s.LastID++
		s.Messages = append(s.Messages, Message{ID: s.LastID, Events: []map[string]any{event}})
	}
	s.alert()
}

func (s *ScaleSet) alert() {
	if s.wake != nil {
		close(s.wake)
	}
	s.wake = make(chan struct{})
}

// notify tells a job's set, if it has one, what became of it.
func (s *State) notify(kind string, job *Job) {
	if set := s.set(job.SetID, ""); set != nil {
		set.tell(event(kind, job))
	}
}

// event is a job as messages tell it. What is not known yet is left out: each time that is there has to parse.
func event(kind string, job *Job) map[string]any {
	owner, repository, _ := strings.Cut(job.Repository, "/")
	told := map[string]any{
		"messageType": kind, "runnerRequestId": job.ID, "repositoryName": repository, "ownerName": owner,
		"jobId": fmt.Sprintf("job-%d", job.ID), "jobDisplayName": job.Name, "workflowRunId": job.RunID,
		"jobWorkflowRef": job.Repository + "/.github/workflows/lab.yml@refs/heads/main", "eventName": "workflow_dispatch",
		"requestLabels": job.Labels, "queueTime": job.CreatedAt.UTC().Format(time.RFC3339),
	}
	switch kind {
	case "JobAvailable":
		told["acquireJobUrl"] = ""
	case "JobStarted", "JobCompleted":
		told["runnerId"], told["runnerName"] = job.RunnerID, job.RunnerName
	}
	if kind == "JobCompleted" {
		told["result"] = map[string]string{"success": "succeeded", "failure": "failed", "cancelled": "canceled"}[job.Conclusion]
		if told["result"] == "" {
			told["result"] = "failed"
		}
	}
	if job.CompletedAt != nil {
		told["finishTime"] = job.CompletedAt.UTC().Format(time.RFC3339)
	}
	return told
}

// text is the list of a message's events, as the JSON in a string that listeners read.
func (m *Message) text() string {
	data, _ := json.Marshal(m.Events)
	return string(data)
}
