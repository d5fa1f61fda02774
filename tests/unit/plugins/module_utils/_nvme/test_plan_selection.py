"""Drives by a rule: the same set at every boot, or a refusal that lists all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import Drive, Partition
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_selection import Rule, choose
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.drives import reason

TB = 10**12
ENGINE = (Partition(1, "runnerfleet-engine", 1, 2),)
HALF = (Partition(1, "runnerfleet-engine.new", 1, 2),)


def drive(name: str, **options: object) -> Drive:
    """A blank drive of 1 TB."""
    return replace(Drive(f"eui.{name}", f"/dev/{name}", TB, seed=f"eui.{name}", model="FAST 9"), **options)  # type: ignore[arg-type]


A, B, C = drive("a"), drive("b"), drive("c")
BOOT = drive("boot", blocked=(reason("boot: /"),), found=(reason("signature: gpt"),))


@pytest.mark.parametrize(
    ("drives", "rule", "chosen"),
    [
        pytest.param([B, A, BOOT], Rule(2), ["eui.a", "eui.b"], id="free-ones"),
        pytest.param([A, replace(B, size=TB // 2)], Rule(1, min_size="900GB"), ["eui.a"], id="by-least-size"),
        pytest.param([A, replace(B, size=TB * 2)], Rule(1, max_size="1TB"), ["eui.a"], id="by-largest-size"),
        pytest.param([A, replace(B, model="SLOW")], Rule(1, model="^FAST"), ["eui.a"], id="by-model"),
        pytest.param([replace(A, partitions=ENGINE), B], Rule(1), ["eui.a"], id="adopted-one-stays"),
        pytest.param(
            [replace(A, partitions=ENGINE), B], Rule(1, model="OTHER"), ["eui.a"], id="adopted-whatever-the-rule"
        ),
        pytest.param(
            [replace(A, member="vg", blocked=(reason("holder: dm-0"),)), B],
            Rule(1),
            ["eui.a"],
            id="member-of-our-group",
        ),
        pytest.param([replace(A, partitions=HALF), B], Rule(2), ["eui.a", "eui.b"], id="interrupted"),
        pytest.param([replace(A, claimed=True), B], Rule(2), ["eui.a", "eui.b"], id="claimed"),
    ],
)
def test_choice(drives: list[Drive], rule: Rule, chosen: list[str]) -> None:
    found, refusals = choose(drives, rule)
    assert [d.identity for d in found] == chosen and not refusals


@pytest.mark.parametrize(
    ("drives", "rule", "expected"),
    [
        pytest.param([], Rule(1), ["no NVMe namespace was found"], id="none"),
        pytest.param(
            [A, B, C], Rule(2), ["wants exactly 2 drives, 3 of 3 are free", "931.3 GiB, FAST 9): free"], id="too-many"
        ),
        pytest.param(
            [A, BOOT], Rule(2), ["1 of 2 are free", "eui.boot (/dev/boot, 931.3 GiB, FAST 9): boot: /; sig"], id="boot"
        ),
        pytest.param(
            [A, replace(B, model="")], Rule(2, model="FAST"), ["model unknown does not match FAST"], id="no-model"
        ),
        pytest.param(
            [replace(A, partitions=ENGINE), B],
            Rule(2),
            ["lie on 1: 1 missing", "(/dev/b, 931.3 GiB, FAST 9): free"],
            id="dead",
        ),
        pytest.param([replace(d, member="vg") for d in (A, B)], Rule(1), ["lie on 2: 1 too many"], id="count-lowered"),
    ],
)
def test_refusal(drives: list[Drive], rule: Rule, expected: list[str]) -> None:
    found, refusals = choose(drives, rule)
    assert not found and all(text in refusals[0] for text in expected), refusals


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(1, model="("), ["is not a regular expression"]),
        (Rule(1, min_size="big"), ["min_size", "expected a quantity"]),
        (Rule(1, max_size="1 XB"), ["max_size"]),
        (Rule(0), ["count 0 is no number of drives"]),
        (Rule(-1, min_size="x", model="["), ["count", "min_size", "model"]),
    ],
)
@pytest.mark.parametrize("drives", [[], [A], [replace(A, size=1)]], ids=["no drive", "a drive", "a small drive"])
def test_a_rule_that_cannot_be_read(rule: Rule, expected: list[str], drives: list[Drive]) -> None:
    found, refusals = choose(drives, rule)
    assert (
        not found
        and all(text in "; ".join(refusals) for text in expected)
        and all("select" in text for text in refusals)
    )


DRIVES = st.builds(
    lambda name, size, found, blocked, parts, member: drive(
        name, size=size, found=found, blocked=blocked, partitions=parts, member=member if not parts else ""
    ),
    st.text("abcdefgh", min_size=1, max_size=3),
    st.sampled_from([TB // 2, TB]),
    st.sampled_from([(), ("signature: xfs",)]),
    st.sampled_from([(), ("mounted: /x",)]),
    st.sampled_from([(), ENGINE, HALF]),
    st.sampled_from(["", "vg"]),
)


@given(st.lists(DRIVES, max_size=5, unique_by=lambda d: d.seed), st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_choice_is_free_or_ours_and_the_same_in_any_order(drives: list[Drive], count: int, chance: object) -> None:
    rule = Rule(count, min_size="900GB")
    chosen, refusals = choose(drives, rule)
    assert bool(refusals) == (not chosen) and len(chosen) in (0, count)
    for one in chosen:
        free = not one.found and not one.blocked and one.size == TB
        assert free or one.partitions or one.member
    shuffled = [replace(d, node=f"/dev/other{i}") for i, d in enumerate(drives)]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [d.identity for d in choose(shuffled, rule)[0]] == [d.identity for d in chosen]
