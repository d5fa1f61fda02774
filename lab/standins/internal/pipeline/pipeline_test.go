// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package pipeline

import (
	"reflect"
	"strings"
	"testing"

	"runnerfleet.lab/standins/internal/wire"
)

func TestParseTheProof(t *testing.T) {
	parsed, err := Parse(`container | with-rootfs $(host | directory /bb) | with-exec -- sh,-c,"sleep 4; date +%s" | stdout`)
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Operation{{Name: "with-rootfs"}, {Name: "with-exec", Args: []string{"sh", "-c", "sleep 4; date +%s"}}}
	if !reflect.DeepEqual(parsed.Operations, want) || parsed.Directory[0] != "/bb" || parsed.Output != "stdout" {
		t.Errorf("got %+v", parsed)
	}
}

func TestParseOther(t *testing.T) {
	parsed, err := Parse(`container|with-rootfs $(host|directory '/a b')|with-env-variable A "b | c"|with-exec -- sh -c 'echo $A'|stderr`)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Directory[0] != "/a b" || parsed.Output != "stderr" {
		t.Errorf("got %+v", parsed)
	}
	if got := parsed.Operations[1].Args; !reflect.DeepEqual(got, []string{"A", "b | c"}) {
		t.Errorf("env: %q", got)
	}
	if got := parsed.Operations[2].Args; !reflect.DeepEqual(got, []string{"sh", "-c", "echo $A"}) {
		t.Errorf("exec: %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for script, want := range map[string]string{
		"":                                          "nothing after the last",
		"directory | stdout":                        "start with `container`",
		"container | from alpine | stdout":          "does not know `from`",
		"container | with-exec -- a":                "end with `stdout`",
		"container | stdout | with-exec a":          "nothing can follow",
		"container | with-exec 'a | stdout":         "unclosed",
		"container | with-rootfs $(git x) | stdout": "host | directory",
		"container | | stdout":                      "nothing before",
	} {
		if _, err := Parse(script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", script, err, want)
		}
	}
}
