// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The stand-in of the runner that takes one job.
package main

import (
	"os"

	"runnerfleet.lab/standins/internal/runner"
)

func main() { os.Exit(runner.Main()) }
