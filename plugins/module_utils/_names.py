# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels, taints and annotations that the collection's parts agree on, each once. Manifests write them out, since a
reader compares those with the cluster; a test holds every one of them to this list. Private to the collection.
"""

from __future__ import annotations

POOL_LABEL = "node-restriction.kubernetes.io/runnerfleet-pool"  # no kubelet may set a label with this prefix for itself
ROLE_LABEL = "node-role.kubernetes.io/"
POOL_TAINT = "runnerfleet.dev/pool"
ENGINE_TAINT = "runnerfleet.dev/engine-not-ready"  # from a node's join until its engine answers
RUNNER_POOL_LABEL = "runnerfleet.dev/runner-pool"  # of a RunnerDeployment and its pods

# Annotations of a Node.
ROLLOUT_ANNOTATION = "runnerfleet.dev/engine-rollout"  # how far its roll-out is
CHECKPOINT_ANNOTATION = "runnerfleet.dev/engine-checkpoint"  # take one, if the last is older (seconds since 1970)
RESTORE_ANNOTATION = "runnerfleet.dev/engine-restore"  # <id> <checkpoint, or nothing for the newest>, obeyed once
TAINTS_ANNOTATION = "runnerfleet.dev/taints"  # the taints that are ours, as JSON
# Of other objects.
JOINS_ANNOTATION = "runnerfleet.dev/joins"  # of a token: the one node that it may become
EXPELLED_ANNOTATION = "runnerfleet.dev/expelled"  # of the policy: the names, as JSON
ENGINE_CONFIG_ANNOTATION = "runnerfleet.dev/engine-config"  # of a pod: another configuration is another pod
ENGINE_SECRET_ANNOTATION = "runnerfleet.dev/engine-environment-secret"
GITHUB_AUTH_ANNOTATION = "runnerfleet.dev/github-auth"  # of the controller's pods: a checksum of the credential
NETWORK_PROOF_ANNOTATION = "runnerfleet.dev/network-policies"  # of a namespace: what was proven to hold policies
