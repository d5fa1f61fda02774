// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Package pipeline reads the small part of the dagger shell that the lab's proof is written in.
package pipeline

import (
	"fmt"
	"strings"

	"runnerfleet.lab/standins/internal/wire"
)

// Pipeline is a parsed script: what to do with a container, which of it to print.
type Pipeline struct {
	Operations []wire.Operation
	Directory  map[int]string // index of a with-rootfs to the directory on the client's side
	Output     string
}

// word is one word of the script; inner is the script of a $( ) word.
type word struct {
	text  string
	inner string
}

// Parse reads `container | with-rootfs $(host | directory /x) | with-exec -- a,b | stdout`.
func Parse(script string) (*Pipeline, error) {
	stages, err := split(script)
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 || len(stages[0]) != 1 || stages[0][0].text != "container" {
		return nil, fmt.Errorf("the stand-in knows pipelines that start with `container`, found %q", script)
	}
	parsed := &Pipeline{Directory: map[int]string{}}
	for _, stage := range stages[1:] {
		if parsed.Output != "" {
			return nil, fmt.Errorf("nothing can follow `%s`", parsed.Output)
		}
		if err := parsed.add(stage); err != nil {
			return nil, err
		}
	}
	if parsed.Output == "" {
		return nil, fmt.Errorf("the stand-in knows pipelines that end with `stdout` or `stderr`")
	}
	return parsed, nil
}

func (p *Pipeline) add(stage []word) error {
	name, arguments := stage[0].text, stage[1:]
	texts := make([]string, 0, len(arguments))
	for position, argument := range arguments {
		if position == 0 && argument.text == "--" {
			continue
		}
		texts = append(texts, argument.text)
	}
	operation := wire.Operation{Name: name, Args: texts}
	switch {
	case name == "with-rootfs" && len(arguments) == 1 && arguments[0].inner != "":
		directory, err := hostDirectory(arguments[0].inner)
		if err != nil {
			return err
		}
		p.Directory[len(p.Operations)] = directory
		operation.Args = nil
	case name == "with-env-variable" && len(texts) == 2:
	case name == "with-exec" && len(texts) == 1:
		operation.Args = strings.Split(texts[0], ",") // a list is written with commas
	case name == "with-exec" && len(texts) > 1:
	case (name == "stdout" || name == "stderr") && len(texts) == 0:
		p.Output = name
		return nil
	default:
		return fmt.Errorf("the stand-in does not know `%s` with %d arguments", name, len(texts))
	}
	p.Operations = append(p.Operations, operation)
	return nil
}

func hostDirectory(script string) (string, error) {
	stages, err := split(script)
	if err != nil {
		return "", err
	}
	if len(stages) == 2 && stages[0][0].text == "host" && stages[1][0].text == "directory" && len(stages[1]) == 2 {
		return stages[1][1].text, nil
	}
	return "", fmt.Errorf("the stand-in knows `$(host | directory <path>)`, found %q", script)
}

// split cuts a script into stages at `|` and stages into words, with quotes and $( ) as in a shell.
func split(script string) ([][]word, error) {
	var stages [][]word
	var stage []word
	var current strings.Builder
	var inner string
	started := false
	endWord := func() {
		if started {
			stage = append(stage, word{current.String(), inner})
		}
		current.Reset()
		inner, started = "", false
	}
	for i := 0; i < len(script); i++ {
		switch c := script[i]; {
		case c == '\'' || c == '"':
			end := strings.IndexByte(script[i+1:], c)
			if end < 0 {
				return nil, fmt.Errorf("unclosed %c in %q", c, script)
			}
			current.WriteString(script[i+1 : i+1+end])
			started = true
			i += end + 1
		case strings.HasPrefix(script[i:], "$("):
			end := strings.IndexByte(script[i:], ')')
			if end < 0 {
				return nil, fmt.Errorf("unclosed $( in %q", script)
			}
			inner, started = strings.TrimSpace(script[i+2:i+end]), true
			i += end
		case c == '|':
			endWord()
			if len(stage) == 0 {
				return nil, fmt.Errorf("nothing before a | in %q", script)
			}
			stages = append(stages, stage)
			stage = nil
		case c == ' ' || c == '\t' || c == '\n':
			endWord()
		default:
			current.WriteByte(c)
			started = true
		}
	}
	endWord()
	if len(stage) == 0 {
		return nil, fmt.Errorf("nothing after the last | in %q", script)
	}
	return append(stages, stage), nil
}
