// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// What the tests' pipelines run: payload [fail|sleep|env|device|made]. It first prints the time, which tells a cached run from another one.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	fmt.Println(time.Now().UnixNano())
	switch strings.Join(os.Args[1:], " ") {
	case "fail":
		fmt.Fprintln(os.Stderr, "it broke")
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "env":
		fmt.Println("A =", os.Getenv("A"))
	case "device":
		data := make([]byte, 4<<20)
		random, err := os.Open("/dev/urandom")
		if err == nil {
			_, err = io.ReadFull(random, data)
		}
		if err == nil {
			err = os.WriteFile("/made", data, 0o600)
		}
		fmt.Println("error", err)
	case "made":
		info, err := os.Stat("/made")
		fmt.Println("made", err == nil && info.Size() == 4<<20)
	}
}
