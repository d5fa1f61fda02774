"""Rules about nodes: what they hold of the names, and what a node knew."""

from __future__ import annotations

from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nodes import policies


def test_a_policy_carries_its_names_in_order() -> None:
    """So that the same list makes the same objects, and is read back."""
    policy, binding = policies.expelled(["b", "a", "b"])
    assert policies.expelled(["a", "b"]) == [policy, binding] and policies.expelled_names(policy) == {"a", "b"}
    assert '["system:node:a", "system:node:b"]' in policy["spec"]["validations"][0]["expression"]
    assert binding["spec"] == {"policyName": policies.EXPELLED, "validationActions": ["Deny"]}
    assert (
        policies.path(policy)
        == "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/runnerfleet-expelled-nodes"
    )
    assert policies.path(binding).endswith("/validatingadmissionpolicybindings/runnerfleet-expelled-nodes")


def test_what_is_no_list_puts_nobody_out() -> None:
    for text in ("", "x", "1", '{"a": 1}', None):
        assert policies.expelled_names({"metadata": {"annotations": {policies.EXPELLED_ANNOTATION: text}}}) == set()
    assert policies.expelled_names({}) == set()


def test_everything_that_a_pod_was_given_is_known() -> None:
    """By volumes, projected or not, by environment, by pull secrets, of any container; and whose token it had."""
    token = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "ca"}}]}}
    spec = {
        "serviceAccountName": "flannel",
        "volumes": [
            {"secret": {"secretName": "a"}},
            {"projected": {"sources": [{"secret": {"name": "b"}}]}},
            token,
            {"emptyDir": {}},
        ],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "c"}}, {"configMapRef": {"name": "x"}}]}],
        "containers": [
            {
                "env": [
                    {"name": "X", "value": "1"},
                    {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "d", "key": "k"}}},
                ]
            }
        ],
        "imagePullSecrets": [{"name": "e"}],
    }
    pods = [
        {"metadata": {"namespace": "n", "name": "p"}, "spec": spec},
        {"metadata": {"namespace": "m"}, "spec": {"containers": [{}]}},
    ]
    assert policies.knowledge(pods) == {"secrets": ["n/a", "n/b", "n/c", "n/d", "n/e"], "accounts": ["n/flannel"]}
    assert policies.knowledge([]) == {"secrets": [], "accounts": []}


def test_a_refusal_says_the_way_back() -> None:
    said = policies.refusal("runner-3")
    assert "runner-3 is expelled" in said and "take its name out of fleet_expelled_nodes" in said
