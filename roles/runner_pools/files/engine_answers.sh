# shellcheck shell=sh
# Waits until the node's engine answers, with the engine's own client. $1: seconds, $2: the socket as the node knows it.
# A client that knocks in vain waits longer from try to try, so it is started anew every half minute.
end=$(($(date +%s) + $1))
said="it was not asked"
while left=$((end - $(date +%s))) && [ "$left" -gt 0 ]; do
  said=$(timeout -s KILL "$((left < 30 ? left : 30))" dagger core version 2>&1) && exit 0
  sleep 1
done 2>/dev/null
escape=$(printf '\033')
said=$(printf '%s\n' "$said" | sed "s/$escape\[[0-9;]*[A-Za-z]//g" | grep . | tail -n 1)
echo "$NODE_NAME: the engine behind $2 did not answer within $1 seconds, so this runner does not register. See the log of the engine's pod" \
  "on this node. Its client said: ${said:-nothing}" >&2
exit 1
