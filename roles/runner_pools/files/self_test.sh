# shellcheck shell=sh
# Does what a job does, in a pod like a runner's, and tells what came of it: a key and its value a line, which the kubelet puts into the
# pod's status. $1: the work directory, $2: a word that no other run has, $3: seconds that a pipeline may take.
work=$1 word=$2 patience=$3

tell() { printf '%s=%s\n' "$1" "$2" | tee -a /dev/termination-log; }

# $1: the step, $2: what was found. The last line that its command wrote follows.
fail() {
  escape=$(printf '\033')
  said=$(sed "s/$escape\[[0-9;]*[A-Za-z]//g" "$work/log" 2>/dev/null | grep . | tail -n 1 | cut -c 1-400)
  tell step "$1"
  tell problem "$2${said:+, and its last line was: $said}"
  exit 1
}

uptime() {
  read -r seconds _idle </proc/uptime
  echo "$seconds"
}

# The step that the engine's own canary runs: a static program prints a random number, and where the step is cached the same one again. It
# needs no registry. The programs are those of the role dagger_engine.
case $(uname -m) in
x86_64)
  program=f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAA
  program=${program}0QAAAAAAAADRAAAAAAAAAAAQAAAAAAAAuAIAAABIjT0wAAAAMfYPBYnHSIPsQEiJ5rolAAAAMcAPBYP4JXUOvwEAAAC4AQAAAA8FMf+4PAAAAA8F
  ;;
aarch64)
  program=f0VMRgIBAQAAAAAAAAAAAAIAtwABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAA
  program=${program}3QAAAAAAAADdAAAAAAAAAAAQAAAAAAAAYAyAkiECABACAIDSCAeA0gEAANT/AwHR4QMAkaIEgNLoB4DSAQAA1B+UAPGhAABUIACA0ggIgNIBAADUAACA0qgLgNIBAADU
  ;;
*) fail pipeline "no program for a machine $(uname -m)" ;;
esac
program=${program}L3Byb2Mvc3lzL2tlcm5lbC9yYW5kb20vdXVpZAA=
if ! { mkdir -p "$work/canary" && printf %s "$program" | base64 -d >"$work/canary/canary" && chmod 755 "$work/canary/canary"; }; then
  fail pipeline "a work directory $work in which nothing can be written, or an image without base64"
fi

# $1: the name under which what it took and what it printed is told.
pipeline() {
  began=$(uptime)
  printed=$(timeout -s KILL "$patience" dagger --progress=plain -c \
    "container | with-rootfs \$(host | directory $work/canary) | with-exec -- /canary,$word | stdout" 2>"$work/log")
  code=$?
  tell "$1_seconds" "$began $(uptime)"
  number=$(printf %s "$printed" | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | tail -n 1)
  if [ "$code" = 137 ]; then
    fail pipeline "the $1 run did not end within $patience seconds"
  elif [ "$code" != 0 ] || [ -z "$number" ]; then
    fail pipeline "the $1 run ended with $code, without the number that it prints"
  fi
  tell "$1" "$number"
}
pipeline first
pipeline second

: >"$work/log"
dd if=/dev/urandom of="$work/bytes" bs=1048576 count=8 conv=fsync 2>"$work/log" || fail disk "8 MiB could not be written to $work"
tell written "$(wc -c <"$work/bytes")"

# The mount that the bytes lie on, as the kernel names it: device, filesystem, and where it comes from.
while read -r _id _parent number _root point rest; do
  [ "$point" = "$work" ] && break
done </proc/self/mountinfo
: >"$work/log"
[ "${point:-}" = "$work" ] || fail disk "no mount at $work"
rest=${rest#*- }
filesystem=${rest%% *} source=${rest#* }
source=${source%% *}
tell mount "$number $filesystem $source"

# The drives below it, through stripes and volumes down to the whole drive.
drives() {
  if [ -n "$(ls "$1/slaves" 2>/dev/null)" ]; then
    for below in "$1"/slaves/*; do drives "$below"; done
  elif [ -e "$1/partition" ]; then
    basename "$(dirname "$(readlink -f "$1")")"
  elif [ -e "$1" ]; then
    basename "$(readlink -f "$1")"
  fi
}
device=/sys/dev/block/$number
[ -e "$device" ] || device=/sys/class/block/${source##*/}
tell drives "$(drives "$device" | sort -u | tr '\n' ' ')"
