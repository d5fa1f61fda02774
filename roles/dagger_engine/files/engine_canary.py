# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One cheap step by which an engine shows that it still has its cache: it prints a random number, and the same one
where it is cached.

The step needs no registry: its root filesystem is one static program of under 300 bytes, made here, which prints
/proc/sys/kernel/random/uuid. It is run by the engine's own client, in the root of the container.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import struct
import subprocess
import threading
from pathlib import Path

from checkpoint_store import die_with_parent

SOURCE = b"/proc/sys/kernel/random/uuid\0"
FOLDER = "/run/runnerfleet/canary"  # in the container
_ANSWER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BASE, _HEADERS = 0x400000, 64 + 56  # where the program is loaded, and the bytes before its first instruction
# Open the source, read 37 bytes of it to the stack, write them to descriptor 1, exit 0; at once where they could not be
# read. The text of the path follows the last instruction.
_X86_64 = (
    "b802000000"  # mov eax, 2 (open)
    "488d3d30000000"  # lea rdi, [rip + 48]: the text
    "31f6"  # xor esi, esi (to read)
    "0f05"  # syscall
    "89c7"  # mov edi, eax
    "4883ec40"  # sub rsp, 64
    "4889e6"  # mov rsi, rsp
    "ba25000000"  # mov edx, 37
    "31c0"  # xor eax, eax (read)
    "0f05"  # syscall
    "83f825"  # cmp eax, 37
    "750e"  # jne to the exit
    "bf01000000"  # mov edi, 1
    "b801000000"  # mov eax, 1 (write)
    "0f05"  # syscall
    "31ff"  # xor edi, edi
    "b83c000000"  # mov eax, 60 (exit)
    "0f05"  # syscall
)
_AARCH64 = (
    0x92800C60,  # mov x0, -100 (relative to the working directory)
    0x10000221,  # adr x1, 68 bytes on: the text
    0xD2800002,  # mov x2, 0 (to read)
    0xD2800708,  # mov x8, 56 (openat)
    0xD4000001,  # svc 0
    0xD10103FF,  # sub sp, sp, 64
    0x910003E1,  # mov x1, sp
    0xD28004A2,  # mov x2, 37
    0xD28007E8,  # mov x8, 63 (read)
    0xD4000001,  # svc 0
    0xF100941F,  # cmp x0, 37
    0x540000A1,  # b.ne to the exit
    0xD2800020,  # mov x0, 1
    0xD2800808,  # mov x8, 64 (write)
    0xD4000001,  # svc 0
    0xD2800000,  # mov x0, 0
    0xD2800BA8,  # mov x8, 93 (exit)
    0xD4000001,  # svc 0
)


def program(machine: str) -> bytes:
    """The static program for a machine as uname names it; empty where there is none."""
    if machine == "x86_64":
        number, code = 62, bytes.fromhex(_X86_64)
    elif machine == "aarch64":
        number, code = 183, struct.pack(f"<{len(_AARCH64)}I", *_AARCH64)
    else:
        return b""
    size = _HEADERS + len(code) + len(SOURCE)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000
    )  # loaded as a whole, to read and to execute
    return ident + header + segment + code + SOURCE


def script(nonce: str) -> str:
    """The step, in the words of the client; another nonce makes another step of it."""
    return f"container | with-rootfs $(host | directory {FOLDER}) | with-exec -- /canary,{nonce} | stdout"


class Canary:
    """Runs the step. One at a time: where it is asked for while one runs, the second waits."""

    def __init__(self, container: int, machine: str = "") -> None:
        self.container = container  # the descriptor of the container's root
        self.program = program(machine or os.uname().machine)
        self.name = hashlib.sha256(self.program).hexdigest()[:8]
        self._one = threading.Lock()

    def nonce(self, known: str = "") -> str:
        """The nonce of a canary that is known, or a new one. One that another release's program answered is none of
        ours.
        """
        nonce = known.partition(" ")[0]
        return nonce if nonce.startswith(f"{self.name}-") else f"{self.name}-{os.urandom(8).hex()}"

    def answer(self, nonce: str, seconds: float) -> str:
        """What the step printed, empty where it did not within that time."""
        if not self.program:
            return ""
        with self._one, contextlib.suppress(OSError):
            folder = Path(f"/proc/self/fd/{self.container}{FOLDER}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "canary").write_bytes(self.program)
            (folder / "canary").chmod(0o755)
            os.utime(folder / "canary", (0, 0))  # the same tree each time
            return _last(self._run(["dagger", "--progress=plain", "-c", script(nonce)], seconds))
        return ""

    def _run(self, command: list[str], seconds: float) -> str:
        def enter() -> None:
            die_with_parent()
            os.setsid()
            os.fchdir(self.container)
            os.chroot(".")
            os.chdir("/")

        environment = {"HOME": "/root", **os.environ, "DAGGER_NO_NAG": "1", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
        client = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=enter,
        )
        try:
            output, _none = client.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(client.pid, signal.SIGKILL)
            client.communicate()
            return ""
        # Its exit code may have gone to whoever reaps orphans here; one that failed printed no number.
        return output.decode(errors="replace")


def _last(output: str) -> str:
    """The last number in what a client printed, whatever colours are around it."""
    return next(iter(reversed(_ANSWER.findall(output))), "")
