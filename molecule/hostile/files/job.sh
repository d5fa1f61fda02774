#!/bin/sh
# What a job tries of its pod: a line "open ..." or "closed ..." for each. The last ones have to be open, or nothing was tried at all.
try() {
  what=$1
  shift
  if "$@" >/tmp/hostile.out 2>&1; then echo "open $what"; else echo "closed $what"; fi
}
try "a token of an account" test -e /var/run/secrets/kubernetes.io
try "the node's root by its first process" test -e /proc/1/root/etc/kubernetes
try "sudo" sudo -n true
try "another user" su -c true root
try "a file system" mount -t tmpfs none /tmp
try "a namespace of users" unshare -U true
try "a namespace of mounts" unshare -m true
try "a device" mknod /tmp/hostile.device c 1 3
try "another root" chroot / true
try "raw packets" arping -c 1 -w 1 127.0.0.1
try "the kernel's log" dmesg
try "a setting of the kernel" sh -c 'echo 1 > /proc/sys/kernel/sysrq'
try "a cgroup" sh -c 'echo $$ > /sys/fs/cgroup/cgroup.procs'
try "a file beside the engine's socket" touch /run/dagger/hostile
try "another socket in the place of the engine's" mv /run/dagger/engine.sock /run/dagger/hostile
try "the engine's cache" test -e /var/lib/dagger
try "a directory of its own" touch /tmp/hostile
try "its engine" test -S /run/dagger/engine.sock
