// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadConfig(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":             {`{}`, ""},
		"all keys":          {allKeys, ""},
		"unknown key":       {`{"garbage": {}}`, `json: unknown field "garbage"`},
		"a later typo":      {`{"gc": {"dagqlCache": {"bytes": 1}}}`, `json: unknown field "bytes"`},
		"a wrong switch":    {`{"telemetry": {"resourceMetrics": "on"}}`, "cannot unmarshal"},
		"nested typo":       {`{"gc": {"policies": [{"keepduration": "6h", "reserved": 1}]}}`, `json: unknown field "reserved"`},
		"wrong size":        {`{"gc": {"maxUsedSpace": "many"}}`, "invalid size"},
		"part of a percent": {`{"gc": {"maxUsedSpace": "1.5%"}}`, "invalid size"},
		"seconds as text":   {`{"gc": {"policies": [{"keepDuration": "3600"}]}}`, ""},
		"wrong duration":    {`{"gc": {"policies": [{"keepDuration": "6 weeks"}]}}`, "invalid duration 6 weeks"},
		"wrong level":       {`{"logLevel": "loud"}`, "unknown logLevel"},
		"wrong type":        {`{"gc": {"enabled": "yes"}}`, "cannot unmarshal"},
		"not JSON":          {`gc: {}`, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "engine.json")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := ReadConfig(path)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "absent.json")); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

const allKeys = `{
  "logLevel": "info",
  "security": {"insecureRootCapabilities": false},
  "registries": {"docker.io": {"mirrors": ["mirror:5000"], "http": true, "insecure": false, "ca": ["/ca.pem"]}},
  "gc": {
    "enabled": true, "reservedSpace": 1000, "maxUsedSpace": "90%", "minFreeSpace": "200GB", "sweepSize": "10%",
    "policies": [{"all": true, "filters": ["type==exec.cachemount"], "keepDuration": 21600, "maxUsedSpace": "1.5TiB"}],
    "dagqlCache": {"maxEstimatedBytes": 4000000000, "targetEstimatedBytes": 3000000000}
  },
  "telemetry": {"resourceMetrics": true}
}`

func TestCheckClient(t *testing.T) {
	for version, good := range map[string]bool{
		"v0.21.8": true, "v0.19.0": true, "v0.18.19": false, "v1.0.0-beta.3": true, "v0.19.0-dev": true, "devel": true, "0.9.1": false,
	} {
		if err := checkClient(version); (err == nil) != good {
			t.Errorf("%s: %v", version, err)
		}
	}
}
