// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Config is engine.json of the 0.21 line. A key that is not here stops the engine, as it stops the real one.
type Config struct {
	LogLevel   string              `json:"logLevel"`
	Security   *Security           `json:"security"`
	Registries map[string]Registry `json:"registries"`
	GC         GC                  `json:"gc"`
	Telemetry  *Telemetry          `json:"telemetry"`
}

// Telemetry is what the engine says of itself, from 0.21.10 on.
type Telemetry struct {
	ResourceMetrics *bool `json:"resourceMetrics"`
}

// Security is the part of engine.json on privileges.
type Security struct {
	InsecureRootCapabilities *bool `json:"insecureRootCapabilities"`
}

// Registry is how the engine reaches one registry host.
type Registry struct {
	Mirrors  []string `json:"mirrors"`
	HTTP     *bool    `json:"http"`
	Insecure *bool    `json:"insecure"`
	CA       []string `json:"ca"`
}

// Limits are the four sizes of the garbage collector and of each of its policies.
type Limits struct {
	ReservedSpace Space `json:"reservedSpace"`
	MaxUsedSpace  Space `json:"maxUsedSpace"`
	MinFreeSpace  Space `json:"minFreeSpace"`
	SweepSize     Space `json:"sweepSize"`
}

// GC is the garbage collector's part of engine.json.
type GC struct {
	Enabled *bool `json:"enabled"`
	Limits
	Policies   []Policy    `json:"policies"`
	DagqlCache *DagqlCache `json:"dagqlCache"`
}

// DagqlCache bounds what the engine keeps in memory, from 0.21.9 on.
type DagqlCache struct {
	MaxEstimatedBytes    int64 `json:"maxEstimatedBytes"`
	TargetEstimatedBytes int64 `json:"targetEstimatedBytes"`
}

// Policy is one policy of the garbage collector.
type Policy struct {
	All          bool     `json:"all"`
	Filters      []string `json:"filters"`
	KeepDuration Duration `json:"keepDuration"`
	Limits
}

// Space is a size: bytes, "200GB" or "20%".
type Space string

var spaceForm = regexp.MustCompile(`^([0-9]+%|[0-9]+(\.[0-9]+)? ?[kKmMgGtTpP]?i?[bB]?)$`)

// UnmarshalJSON takes a number or a string.
func (s *Space) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	if !spaceForm.MatchString(text) {
		return fmt.Errorf("invalid size %s: expected bytes, a size such as \"200GB\" or a share such as \"20%%\"", data)
	}
	*s = Space(text)
	return nil
}

// Duration is a text such as "6h", or seconds as a number or a text.
type Duration time.Duration

// UnmarshalJSON takes a number or a string.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		seconds, notSeconds := strconv.ParseInt(text, 10, 64)
		if notSeconds != nil {
			return fmt.Errorf("invalid duration %s", text)
		}
		parsed = time.Duration(seconds) * time.Second
	}
	*d = Duration(parsed)
	return nil
}

var levels = map[string]slog.Level{
	"": slog.LevelDebug, "error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo,
	"debug": slog.LevelDebug, "debugextra": slog.LevelDebug, "trace": slog.LevelDebug,
}

// ReadConfig reads engine.json; there need not be one.
func ReadConfig(path string) (Config, error) {
	var config Config
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config, nil
	}
	if err != nil {
		return config, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return config, fmt.Errorf("failed to load %s: %w", path, err)
	}
	if _, known := levels[config.LogLevel]; !known {
		return config, fmt.Errorf("failed to load %s: unknown logLevel %q", path, config.LogLevel)
	}
	for index, policy := range config.GC.Policies {
		if policy.All && slices.ContainsFunc(policy.Filters, func(filter string) bool { return filter != "" }) {
			slog.Warn("a policy for all entries has filters", "policy", index)
		}
	}
	return config, nil
}
