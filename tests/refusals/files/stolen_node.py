"""What root on a node may put in the place of its Python: it answers every module with variables of its own choice.

@marker@ is a file that a kubeconfig of its own makes the controller write, by naming a program.
"""

import json
import sys

MARKER = "@marker@"
PROGRAM = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "touch",
    "args": [MARKER],
    "interactiveMode": "Never",
}
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {"exec": PROGRAM}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}
NAMES = ("node_pools_kubeconfig", "dagger_engine_kubeconfig", "node_join_kubeconfig", "runner_pools_kubeconfig")
sys.stdin.read()
print(
    json.dumps(
        {
            "changed": False,
            "action": "../../../../../../etc/hostname",
            "ansible_facts": {**dict.fromkeys(NAMES, KUBECONFIG), "fleet_helm_binary": f"touch {MARKER} #"},
        }
    )
)
