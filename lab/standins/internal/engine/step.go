// Copyright (c) 2026 runnerfleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stepName is argv[0] of this very program where it is the first process of a step.
const stepName = "dagger-engine-step"

var stepDevices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// StepMain turns the process into a step's command if it was started for that; see RunStep.
func StepMain() {
	if len(os.Args) < 3 || os.Args[0] != stepName {
		return
	}
	err := enterStep(os.Args[1], os.Args[2:])
	fmt.Fprintln(os.Stderr, "step:", err)
	os.Exit(127)
}

func enterStep(rootfs string, arguments []string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, directory := range []string{"proc", "dev", "tmp"} {
		if err := os.MkdirAll(filepath.Join(rootfs, directory), 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount("proc", filepath.Join(rootfs, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	dev := filepath.Join(rootfs, "dev")
	if err := syscall.Mount("tmpfs", dev, "tmpfs", 0, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	for _, device := range stepDevices {
		target := filepath.Join(dev, device)
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			return err
		}
		if err := syscall.Mount("/dev/"+device, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", device, err)
		}
	}
	if err := syscall.Chroot(rootfs); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	program, err := exec.LookPath(arguments[0])
	if err != nil {
		return err
	}
	return syscall.Exec(program, arguments, os.Environ())
}

// RunStep runs a command in a root filesystem, in namespaces of its own; output is called with what it prints as it prints it.
func RunStep(ctx context.Context, rootfs string, arguments, environment []string, output func(string)) (StepResult, error) {
	started := time.Now()
	command := exec.CommandContext(ctx, "/proc/self/exe")
	command.Args = append([]string{stepName, rootfs}, arguments...)
	command.Env = environment
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	var stdout, stderr bytes.Buffer
	var mu sync.Mutex
	tee := func(buffer *bytes.Buffer) io.Writer {
		return writerFunc(func(data []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			output(string(data))
			return buffer.Write(data)
		})
	}
	command.Stdout, command.Stderr = tee(&stdout), tee(&stderr)
	command.WaitDelay = time.Second
	err := command.Run()
	result := StepResult{Stdout: stdout.String(), Stderr: stderr.String(), Seconds: time.Since(started).Seconds()}
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		result.ExitCode = exit.ExitCode()
		return result, fmt.Errorf("process %q did not complete successfully: exit code: %d\n%s",
			strings.Join(arguments, " "), result.ExitCode, strings.TrimSpace(result.Stderr))
	}
	return result, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }
