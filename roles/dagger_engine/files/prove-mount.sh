#!/bin/sh
# Ends with an error unless the cache directory is a mount of its own, so that an engine never fills the root disk when a drive is missing.
# usage: prove-mount.sh <parent of the cache directory> <cache directory> <engine version>
set -eu
parent=$1 cache=$2 version=$3
device_of_parent=$(stat -c %d "$parent") # not inside the test below, where a stat that fails would go unnoticed
device_of_cache=$(stat -c %d "$cache")
if [ "$device_of_parent" = "$device_of_cache" ]; then
  echo "the cache directory of this node is not a mount of its own: its drive is missing or not mounted. Mount it (role nvme_storage)." >&2
  exit 1
fi
mkdir -p "$cache/$version/state"
echo "the state of engine $version lies on the cache filesystem"
