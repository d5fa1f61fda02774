// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The dagger client's stand-in.
package main

import (
	"os"

	"runnerfleet.lab/standins/internal/client"
)

// version is the one of the engine image that this client lies in; set when building.
var version = "v0.21.11"

func main() { os.Exit(client.Main(version)) }
