// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The Dagger engine's stand-in.
package main

import (
	"os"

	"runnerfleet.lab/standins/internal/engine"
)

// version is the one of the engine that this stands in for; set when building.
var version = "v0.21.11"

func main() {
	engine.StepMain() // does not come back in the process of a step
	os.Exit(engine.Main(version, os.Args[1:]))
}
