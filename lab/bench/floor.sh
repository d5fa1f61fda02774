#!/usr/bin/env bash
# The floor of `make bench`: the same nodes brought to the same state by the bare commands, with nothing looked at, planned or proven.
# lab/bench/site.py calls it with what a run of site.yml left behind: FLOOR has node.tar, control_plane.tar, kubeadm.yaml, <release>.yaml and the
# objects.
# In the environment: FLOOR CP OTHERS RUNNERS (address=drive,drive) SSH BINARIES CONTAINERD CNI FLANNEL CERT_MANAGER ARC HELM KUBECONFIG
set -euo pipefail

on() {
  local address=$1
  shift
  # The options are words by intent, and what is to run there is put together here.
  # shellcheck disable=SC2086,SC2029
  ssh $SSH "root@$address" "$@"
}

until_done() {
  for _attempt in $(seq 120); do
    "$@" >/dev/null 2>&1 && return
    sleep 1
  done
  "$@"
}

prepare() {
  local address=$1 drives=$2
  on "$address" tar -xC / <"$FLOOR/node.tar"
  on "$address" "bash -seu -- $(printf '%q ' "$drives" "$BINARIES" "$CONTAINERD" "$CNI")" <<'NODE'
IFS=, read -r engine containers <<<"$1"
if [ -n "$engine" ]; then
  for pair in "$engine /var/lib/runnerfleet/engine" "$containers /var/lib/runnerfleet/containers"; do
    read -r drive mount <<<"$pair"
    device=$(readlink -f "$drive")
    echo 'label: gpt
,,' | sfdisk --quiet "$device"
    partx --update "$device"
    part=${device}p1
    mkfs.xfs -q -K -f "$part"
    mkdir -p "$mount"
    mount -o noatime "$part" "$mount"
  done
  for bind in containerd:/var/lib/containerd kubelet:/var/lib/kubelet pods:/var/log/pods; do
    mkdir -p "/var/lib/runnerfleet/containers/${bind%%:*}" "${bind#*:}"
    mount --bind "/var/lib/runnerfleet/containers/${bind%%:*}" "${bind#*:}"
    mount --make-rshared "${bind#*:}"
  done
fi
mkdir -p /opt/cni/bin /usr/local/sbin
for url in $2; do
  name=${url##*/}
  curl -fsS -o "/usr/local/bin/${name%%.*}" "$url"
  chmod 0755 "/usr/local/bin/${name%%.*}"
done
mv /usr/local/bin/runc /usr/local/sbin/runc
curl -fsS "$3" | tar -xzC /usr/local
curl -fsS "$4" | tar -xzC /opt/cni/bin
sysctl --quiet --system || true # a container may not set all of them
systemctl daemon-reload
systemctl enable --quiet --now containerd
systemctl enable --quiet kubelet
NODE
}

jobs=()
for address in $CP $OTHERS; do
  drives=""
  for runner in $RUNNERS; do
    if [ "${runner%%=*}" = "$address" ]; then drives=${runner#*=}; fi
  done
  prepare "$address" "$drives" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done

on "$CP" "tar -xC / && mkdir -pm 0700 /var/log/kubernetes/audit" <"$FLOOR/control_plane.tar"
on "$CP" "cat >/run/kubeadm.yaml && PATH=\$PATH:/usr/local/bin kubeadm init --config /run/kubeadm.yaml --ignore-preflight-errors=all" <"$FLOOR/kubeadm.yaml" >/dev/null
on "$CP" cat /etc/kubernetes/admin.conf >"$KUBECONFIG"
join=$(on "$CP" "PATH=\$PATH:/usr/local/bin kubeadm token create --print-join-command")
jobs=()
for address in $OTHERS; do
  on "$address" "PATH=\$PATH:/usr/local/bin $join --ignore-preflight-errors=all" >/dev/null &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done

for node in $(kubectl get nodes -o name); do
  pool=${node#node/}
  pool=${pool%-*}
  [ "$pool" != cp ] || continue
  kubectl label --overwrite "$node" "node-restriction.kubernetes.io/runnerfleet-pool=$pool" "node-role.kubernetes.io/$pool=" >/dev/null
  [ "$pool" != runner ] || kubectl taint --overwrite node "${node#node/}" "runnerfleet.dev/pool=$pool:NoSchedule" >/dev/null
done

# Chart references carry their options.
# shellcheck disable=SC2086
{
  "$HELM" install flannel $FLANNEL --namespace kube-flannel --create-namespace --values "$FLOOR/flannel.yaml" --wait >/dev/null
  kubectl wait --for=condition=Ready node --all --timeout=300s >/dev/null
  kubectl apply --server-side --force-conflicts -f "$FLOOR/network.json" >/dev/null
  kubectl rollout status --namespace kube-flannel daemonset/kube-network-policies --timeout=300s >/dev/null
  kubectl rollout status --namespace kube-system deployment/coredns --timeout=300s >/dev/null
  "$HELM" install cert-manager $CERT_MANAGER --namespace cert-manager --create-namespace --values "$FLOOR/cert-manager.yaml" --wait >/dev/null
}
until_done kubectl apply --server-side -f "$FLOOR/certificates.json"
kubectl wait --for=condition=Ready certificate --all --namespace cert-manager --timeout=300s >/dev/null
kubectl apply --server-side -f "$FLOOR/engine.json" >/dev/null
until_done kubectl apply --server-side -f "$FLOOR/controller.json"
# shellcheck disable=SC2086
until_done "$HELM" upgrade --install actions-runner-controller $ARC --namespace arc-systems --values "$FLOOR/actions-runner-controller.yaml" --wait
until_done kubectl apply --server-side -f "$FLOOR/runners.json"
