// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package service

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tenant is where the service of scale sets lies; clients learn it when they register.
const tenant = "/tenant/1"

func uuid() string {
	data := make([]byte, 16)
	rand.Read(data)
	data[6], data[8] = data[6]&0x0f|0x40, data[8]&0x3f|0x80
	text := hex.EncodeToString(data)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// jwt is a token that clients read the end of, and nothing else. Nobody verifies its signature.
func jwt(id string, expires time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	claims, _ := json.Marshal(map[string]any{"jti": id, "exp": expires.Unix()})
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(claims) + "." + encode([]byte("standin"))
}

func told(answer http.ResponseWriter, refusal *Refusal) {
	reply(answer, refusal.Status, map[string]string{"typeName": refusal.TypeName, "message": refusal.Message})
}

// scopeOf is the scope of the address that runners are registered for.
func scopeOf(address string) (string, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.Trim(parsed.Path, "/"), "/")
	switch {
	case len(parts) == 1 && parts[0] != "":
		return "orgs/" + parts[0], nil
	case len(parts) == 2 && parts[0] == "enterprises":
		return "enterprises/" + parts[1], nil
	case len(parts) == 2:
		return "repos/" + parts[0] + "/" + parts[1], nil
	}
	return "", errors.New("an address has an owner, or an owner and a repository")
}

// registration changes a registration token for one of the service of scale sets.
func (s *Service) registration(answer http.ResponseWriter, request *http.Request) {
	var wanted struct {
		URL   string `json:"url"`
		Event string `json:"runner_event"`
	}
	if !body(answer, request, &wanted) {
		return
	}
	scope, err := scopeOf(wanted.URL)
	token, isRemote := strings.CutPrefix(request.Header.Get("Authorization"), "RemoteAuth ")
	if err != nil || !isRemote || wanted.Event != "register" || !s.state.Valid(s.state.Tokens, token, scope) {
		fail(answer, http.StatusUnauthorized, "Bad registration token")
		return
	}
	life := time.Duration(s.adminSeconds.Load()) * time.Second
	admin := s.state.NewAdmin(scope, life)
	reply(answer, http.StatusOK, map[string]string{"url": "http://" + request.Host + tenant + "/", "token": admin})
}

// scaleSets is what controllers and listeners of scale sets call.
func (s *Service) scaleSets(mux *http.ServeMux) {
	runtime := tenant + "/_apis/runtime/"
	// Each of these has the token of a registration, whose scope it is good for.
	admin := func(pattern string, do func(http.ResponseWriter, *http.Request, string)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+path, func(answer http.ResponseWriter, request *http.Request) {
			scope, valid := s.state.ScopeOf(bearer(request))
			if !valid {
				told(answer, refuse(http.StatusUnauthorized, "UnauthorizedException", "The token is not valid, or has expired."))
				return
			}
			do(answer, request, scope)
		})
	}
	admin("GET "+runtime+"runnergroups/{$}", func(answer http.ResponseWriter, request *http.Request, _ string) {
		groups := []map[string]any{}
		for index, name := range s.groups() {
			if strings.EqualFold(name, request.URL.Query().Get("groupName")) {
				groups = append(groups, map[string]any{"id": index + 1, "name": name, "size": 0, "isDefaultGroup": index == 0})
			}
		}
		list(answer, groups)
	})
	sets := runtime + "runnerscalesets"
	admin("GET "+sets, func(answer http.ResponseWriter, request *http.Request, scope string) {
		query := request.URL.Query()
		views := []map[string]any{}
		for _, set := range s.state.SetsWhere(func(set *ScaleSet) bool {
			return set.Scope == scope && strings.EqualFold(set.Name, query.Get("name")) && itoa(set.GroupID) == query.Get("runnerGroupId")
		}) {
			views = append(views, s.view(request, set))
		}
		list(answer, views)
	})
	admin("POST "+sets, func(answer http.ResponseWriter, request *http.Request, scope string) {
		wanted, good := s.wanted(answer, request)
		if !good {
			return
		}
		set, refusal := s.state.CreateSet(scope, wanted.Name, max(wanted.GroupID, 1), wanted.labels())
		s.answer(answer, request, set, refusal)
	})
	admin("GET "+sets+"/{id}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		found := s.state.SetsWhere(func(set *ScaleSet) bool { return set.Scope == scope && set.ID == pathID(request, "id") })
		if len(found) == 0 {
			told(answer, unknownSet(pathID(request, "id")))
			return
		}
		s.answer(answer, request, found[0], nil)
	})
	// It always carries more than is meant: name, group and labels are what may change.
	admin("PATCH "+sets+"/{id}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		wanted, good := s.wanted(answer, request)
		if !good {
			return
		}
		set, refusal := s.state.ChangeSet(scope, pathID(request, "id"), wanted.Name, wanted.GroupID, wanted.labels())
		s.answer(answer, request, set, refusal)
	})
	admin("DELETE "+sets+"/{id}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		if refusal := s.state.DeleteSet(scope, pathID(request, "id")); refusal != nil {
			told(answer, refusal)
			return
		}
		answer.WriteHeader(http.StatusNoContent)
	})
	admin("POST "+sets+"/{id}/sessions", func(answer http.ResponseWriter, request *http.Request, scope string) {
		var wanted struct {
			Owner string `json:"ownerName"`
		}
		json.NewDecoder(io.LimitReader(request.Body, 1<<20)).Decode(&wanted)
		session, refusal := s.state.OpenSession(scope, pathID(request, "id"), wanted.Owner)
		s.session(answer, request, session, refusal)
	})
	admin("PATCH "+sets+"/{id}/sessions/{session}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		session, refusal := s.state.RefreshSession(scope, pathID(request, "id"), request.PathValue("session"))
		s.session(answer, request, session, refusal)
	})
	admin("DELETE "+sets+"/{id}/sessions/{session}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		s.state.CloseSession(scope, pathID(request, "id"), request.PathValue("session"))
		answer.WriteHeader(http.StatusNoContent)
	})
	admin("GET "+sets+"/{id}/acquirablejobs", func(answer http.ResponseWriter, request *http.Request, _ string) {
		jobs := s.state.Acquirable(pathID(request, "id"))
		if len(jobs) == 0 {
			answer.WriteHeader(http.StatusNoContent)
			return
		}
		list(answer, jobs)
	})
	admin("POST "+sets+"/{id}/generatejitconfig", s.announce)
	s.agents(admin)
	s.messages(mux)
}

// agents are the runners of scale sets, as the controller knows them.
func (s *Service) agents(admin func(string, func(http.ResponseWriter, *http.Request, string))) {
	agents := tenant + "/_apis/distributedtask/pools/0/agents"
	view := func(runner Runner) map[string]any {
		return map[string]any{"id": runner.ID, "name": runner.Name, "runnerScaleSetId": runner.SetID}
	}
	admin("GET "+agents, func(answer http.ResponseWriter, request *http.Request, scope string) {
		views := []map[string]any{}
		for _, runner := range s.state.RunnersOf(scope) {
			if runner.Name == request.URL.Query().Get("agentName") {
				views = append(views, view(runner))
			}
		}
		list(answer, views)
	})
	admin("GET "+agents+"/{id}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		for _, runner := range s.state.RunnersOf(scope) {
			if runner.ID == pathID(request, "id") {
				reply(answer, http.StatusOK, view(runner))
				return
			}
		}
		told(answer, refuse(http.StatusNotFound, "AgentNotFoundException", "No agent exists with identifier %s.", request.PathValue("id")))
	})
	// What is not there is deleted already: runners that never registered have the number 0.
	admin("DELETE "+agents+"/{id}", func(answer http.ResponseWriter, request *http.Request, scope string) {
		if _, busy, name := s.state.Remove(pathID(request, "id"), scope); busy {
			told(answer, refuse(http.StatusBadRequest, "JobStillRunningException", "The runner %s is still running a job.", name))
			return
		}
		answer.WriteHeader(http.StatusNoContent)
	})
}

// announce hands out what a runner begins with, once.
func (s *Service) announce(answer http.ResponseWriter, request *http.Request, scope string) {
	var wanted struct {
		Name       string `json:"name"`
		WorkFolder string `json:"workFolder"`
	}
	if !body(answer, request, &wanted) {
		return
	}
	runner, refusal := s.state.Announce(scope, pathID(request, "id"), wanted.Name)
	if refusal != nil {
		told(answer, refusal)
		return
	}
	encode := func(content any) string {
		data, _ := json.Marshal(content)
		return base64.StdEncoding.EncodeToString(data)
	}
	config := encode(map[string]string{
		".runner": encode(map[string]any{
			"agentId": runner.ID, "agentName": runner.Name, "poolId": 1, "ephemeral": true, "workFolder": wanted.WorkFolder,
			"gitHubUrl": "http://" + request.Host + "/" + strings.SplitN(scope, "/", 2)[1], "serverUrl": "http://" + request.Host + tenant,
		}),
		".credentials":           encode(map[string]any{"scheme": "OAuth", "data": map[string]string{"clientId": runner.Secret}}),
		".credentials_rsaparams": encode(map[string]any{}),
	})
	reply(answer, http.StatusOK, map[string]any{
		"runner":           map[string]any{"id": runner.ID, "name": runner.Name, "runnerScaleSetId": runner.SetID},
		"encodedJITConfig": config,
	})
}

// messages is what a listener asks with the token of its session, and with no other.
func (s *Service) messages(mux *http.ServeMux) {
	queue := func(pattern string, do func(http.ResponseWriter, *http.Request, int64)) {
		mux.HandleFunc(pattern, func(answer http.ResponseWriter, request *http.Request) {
			set, refusal := s.state.OfSession(bearer(request))
			if refusal != nil {
				told(answer, refusal)
				return
			}
			do(answer, request, set)
		})
	}
	queue("GET "+tenant+"/messages/{session}", func(answer http.ResponseWriter, request *http.Request, set int64) {
		last, _ := strconv.ParseInt(request.URL.Query().Get("lastMessageId"), 10, 64)
		capacity := -1
		if header := request.Header.Get("X-ScaleSetMaxCapacity"); header != "" {
			capacity, _ = strconv.Atoi(header)
		}
		message, figures, refusal := s.state.Poll(set, last, capacity, request.Context().Done(), s.patience)
		switch {
		case refusal != nil:
			told(answer, refusal)
		case message == nil:
			answer.WriteHeader(http.StatusAccepted)
		default:
			reply(answer, http.StatusOK, map[string]any{
				"messageId": message.ID, "messageType": "RunnerScaleSetJobMessages", "body": message.text(), "statistics": figures,
			})
		}
	})
	queue("DELETE "+tenant+"/messages/{session}/{message}", func(answer http.ResponseWriter, request *http.Request, set int64) {
		s.state.DeleteMessage(set, pathID(request, "message"))
		answer.WriteHeader(http.StatusNoContent)
	})
	queue("POST "+tenant+"/_apis/runtime/runnerscalesets/{id}/acquirejobs", func(answer http.ResponseWriter, request *http.Request, set int64) {
		var wanted []int64
		if !body(answer, request, &wanted) {
			return
		}
		if set != pathID(request, "id") {
			told(answer, unknownSet(pathID(request, "id")))
			return
		}
		got, refusal := s.state.Acquire(set, wanted)
		if refusal != nil {
			told(answer, refusal)
			return
		}
		list(answer, got)
	})
}

// setWish is a set as controllers send it.
type setWish struct {
	Name    string `json:"name"`
	GroupID int64  `json:"runnerGroupId"`
	Labels  []struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"labels"`
}

func (w setWish) labels() []string {
	names := []string{}
	for _, label := range w.Labels {
		if label.Name != "" && !slices.Contains(names, label.Name) {
			names = append(names, label.Name)
		}
	}
	return names
}

func (s *Service) wanted(answer http.ResponseWriter, request *http.Request) (wish setWish, good bool) {
	if err := json.NewDecoder(io.LimitReader(request.Body, 1<<20)).Decode(&wish); err != nil {
		told(answer, refuse(http.StatusBadRequest, "VssPropertyValidationException", "Problems parsing JSON: %v", err))
		return wish, false
	}
	if wish.GroupID > int64(len(s.groups())) {
		told(answer, refuse(http.StatusNotFound, "TaskAgentPoolNotFoundException", "No runner group %d.", wish.GroupID))
		return wish, false
	}
	return wish, true
}

func (s *Service) groups() []string {
	return append([]string{"Default"}, s.config.Groups...)
}

func (s *Service) view(request *http.Request, set ScaleSet) map[string]any {
	labels := []map[string]string{}
	for _, name := range set.Labels {
		labels = append(labels, map[string]string{"type": "System", "name": name})
	}
	return map[string]any{
		"id": set.ID, "name": set.Name, "runnerGroupId": set.GroupID, "runnerGroupName": s.groups()[set.GroupID-1], "labels": labels,
		"RunnerSetting": map[string]bool{"disableUpdate": true, "ephemeral": true}, "createdOn": set.CreatedOn.UTC().Format(time.RFC3339),
		"runnerJitConfigUrl": fmt.Sprintf("http://%s%s/_apis/runtime/runnerscalesets/%d/generatejitconfig", request.Host, tenant, set.ID),
		"statistics":         s.state.Statistics(set.ID),
	}
}

func (s *Service) answer(answer http.ResponseWriter, request *http.Request, set ScaleSet, refusal *Refusal) {
	if refusal != nil {
		told(answer, refusal)
		return
	}
	reply(answer, http.StatusOK, s.view(request, set))
}

func (s *Service) session(answer http.ResponseWriter, request *http.Request, session Session, refusal *Refusal) {
	if refusal != nil {
		told(answer, refusal)
		return
	}
	set := s.state.SetsWhere(func(set *ScaleSet) bool { return set.ID == pathID(request, "id") })[0]
	reply(answer, http.StatusOK, map[string]any{
		"sessionId": session.ID, "ownerName": session.Owner, "runnerScaleSet": s.view(request, set),
		"messageQueueUrl":         "http://" + request.Host + tenant + "/messages/" + session.ID + "?sessionId=" + session.ID,
		"messageQueueAccessToken": session.Token, "statistics": s.state.Statistics(set.ID),
	})
}

func list[T any](answer http.ResponseWriter, values []T) {
	reply(answer, http.StatusOK, map[string]any{"count": len(values), "value": values})
}
