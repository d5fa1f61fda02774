"""The planner: tables for what it says, properties for what it must never do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import validate
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    MIB,
    MINIMUM,
    Bind,
    Drive,
    Layout,
    Partition,
    Volume,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_partitions import (
    partition_node,
    plan_layout,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plugins.drives import reason

GIB = 1024**3
ENGINE, CONTAINERS = Volume("engine", "60%", mount="/engine"), Volume("containers", mount="/containers")
BOTH = (ENGINE, CONTAINERS)


def drive(name: str, node: str = "", **options: object) -> Drive:
    """A blank drive of 10 GiB."""
    return replace(Drive(f"/dev/disk/by-id/{name}", node or f"/dev/{name}", 10 * GIB, seed=name), **options)  # type: ignore[arg-type]


def part(name: str, number: int = 1, filesystem: str = "xfs", size: int = GIB) -> Partition:
    """A partition that the kernel knows."""
    return Partition(number, name, number * GIB, size, f"p{number}", filesystem, f"uuid-{name}", f"259:{number}")


def applied(drives: list[Drive], plan: Layout) -> list[Drive]:
    """The drives as they are after the plan."""
    result = []
    for old in drives:
        new = old
        for step in plan.steps:
            if step.target == old.identity and step.action == "partition":
                new = replace(old, partitions=tuple(step.partitions), found=(), claimed=False)
        for place in plan.placed:
            if place.drive.identity == old.identity:
                done = replace(place.partition, name=f"runnerfleet-{place.volume.name}", device="259:1")
                new = replace(new, partitions=tuple(done if p.number == done.number else p for p in new.partitions))
        result.append(new)
    return result


@pytest.mark.parametrize(
    ("text", "usable", "expected"),
    [
        ("200GiB", 0, 200 * GIB),
        ("200 GB", 0, 200 * 10**9),
        ("1.5TB", 0, 1500 * 10**9),
        ("512MiB", 0, 512 * MIB),
        ("4096", 0, 4096),
        ("60%", 1000, 600),
        ("100%", 1000, 1000),
    ],
)
def test_sizes(text: str, usable: int, expected: int) -> None:
    assert validate.size_in_bytes(text, usable) == expected


@pytest.mark.parametrize("text", ["", "big", "-1G", "0%", "101%", "1GiBB", "10 x"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        validate.size_in_bytes(text, 1000)


@pytest.mark.parametrize(
    ("node", "expected"),
    [("/dev/nvme0n1", "/dev/nvme0n1p2"), ("/dev/loop10", "/dev/loop10p2"), ("/dev/sda", "/dev/sda2")],
)
def test_partition_node(node: str, expected: str) -> None:
    assert partition_node(node, 2) == expected


@pytest.mark.parametrize(
    ("drives", "volumes", "layout", "wipe", "expected"),
    [
        pytest.param([], BOTH, "auto", [], "drives is empty", id="no-drive"),
        pytest.param(["a"], (), "auto", [], "volumes is empty", id="no-volume"),
        pytest.param(["a", "b"], BOTH, "single", [], "layout single takes one drive, found 2", id="single-of-two"),
        pytest.param(["a", "b", "c"], BOTH, "auto", [], "or ask for layout stripe", id="three-drives"),
        pytest.param(["a"], BOTH, "spread", [], "one drive per volume, found 1 drives for 2", id="spread-of-one"),
        pytest.param(["a", "a"], BOTH, "auto", [], "which is named twice", id="same-drive"),
        pytest.param(["a"], (ENGINE, ENGINE), "auto", [], "volume engine is named twice", id="same-volume"),
        pytest.param(
            ["a"], (Volume("a"), Volume("b")), "auto", [], "only one volume may have size rest", id="two-rests"
        ),
        pytest.param(["a"], (Volume("Engine"),), "auto", [], "must be 1 to 12 of", id="bad-name"),
        pytest.param(["a"], (Volume("a", mount="../x"),), "auto", [], "must be an absolute path", id="relative"),
        pytest.param(["a"], (Volume("a", mount="/x/../etc"),), "auto", [], "must be an absolute path", id="dots"),
        pytest.param(
            ["a"], (Volume("a", size="huge"),), "auto", [], "volume a: size 'huge' is not a size", id="bad-size"
        ),
        pytest.param(
            ["a"],
            (Volume("a", size="11GiB"),),
            "auto",
            [],
            "the volumes need 11.0 GiB, the drive offers 10.0 GiB",
            id="too-big",
        ),
        pytest.param(
            ["a"], (Volume("a", size="100%"), Volume("b")), "auto", [], "volume b would get 0 bytes", id="nothing-left"
        ),
        pytest.param(
            ["a"],
            (Volume("a", binds=(Bind("x", "/x"),)),),
            "auto",
            [],
            "has binds but no mount",
            id="bind-no-mount",
        ),
        pytest.param(
            ["a"],
            (Volume("a", mount="/a", binds=(Bind("../x", "/x"),)),),
            "auto",
            [],
            "name of one directory",
            id="source",
        ),
    ],
)
def test_wishes_that_are_refused(
    drives: list[str], volumes: tuple[Volume, ...], layout: str, wipe: list[str], expected: str
) -> None:
    plan = plan_layout([drive(name) for name in drives], volumes, layout, wipe)
    assert expected in "\n".join(plan.refusals)
    assert not plan.placed or plan.refusals


def test_single_puts_both_on_one_drive() -> None:
    plan = plan_layout([drive("a")], BOTH, "auto", [])
    assert [s.action for s in plan.steps] == ["partition", "format", "format"] and not plan.destructive
    engine, containers = (p.partition for p in plan.placed)
    assert engine.start == MIB and engine.size == 6142 * MIB and containers.start == engine.start + engine.size
    assert containers.start + containers.size == 10 * GIB - MIB
    assert (engine.node, containers.node) == ("/dev/a1", "/dev/a2")


def test_spread_gives_each_a_drive_whatever_its_share() -> None:
    plan = plan_layout([drive("a"), drive("b")], BOTH, "auto", [])
    assert [(p.volume.name, p.drive.seed, p.partition.size) for p in plan.placed] == [
        ("engine", "a", 10 * GIB - 2 * MIB),
        ("containers", "b", 10 * GIB - 2 * MIB),
    ]


FOREIGN = (reason("signature: ext4"),)


@pytest.mark.parametrize(
    ("given_drive", "wipe", "refused", "wiped"),
    [
        pytest.param(drive("a", found=FOREIGN), [], 'wipe: ["/dev/disk/by-id/a"]', True, id="foreign"),
        pytest.param(drive("a", found=FOREIGN), ["/dev/disk/by-id/a"], "", True, id="consent-by-path"),
        pytest.param(
            drive("a", found=FOREIGN, blocked=(reason("swap: /dev/a"),)),
            ["/dev/disk/by-id/a"],
            "does not cover this",
            True,
            id="used",
        ),
        pytest.param(
            drive("a", blocked=(reason("opened exclusively: by another program"),)),
            [],
            "opened exclusively",
            False,
            id="held",
        ),
        pytest.param(drive("a", claimed=True), [], "", False, id="interrupted"),
        pytest.param(
            drive("a", claimed=True, found=(reason("signature: xfs"),)),
            [],
            "signature: xfs",
            True,
            id="claimed-and-reused",
        ),
        pytest.param(
            drive("a", partitions=(part("runnerfleet-engine"),)),
            [],
            "carries runnerfleet-engine, but not runnerfleet-containers",
            True,
            id="half",
        ),
        pytest.param(
            drive("a", partitions=(part("runnerfleet-other"),)),
            [],
            "none of which is a volume of this host",
            True,
            id="others",
        ),
        pytest.param(
            drive("a", partitions=(part("runnerfleet-engine", filesystem=""), part("runnerfleet-containers", 2))),
            [],
            "runnerfleet-engine holds no filesystem, desired is xfs",
            True,
            id="filesystem-gone",
        ),
    ],
)
def test_what_lies_on_a_drive(given_drive: Drive, wipe: list[str], refused: str, wiped: bool) -> None:
    plan = plan_layout([given_drive], BOTH, "auto", wipe)
    assert bool(plan.refusals) == bool(refused) and refused in "\n".join(plan.refusals)
    assert bool(plan.destructive) == wiped
    assert all(step.text.startswith("WIPE") == wiped for step in plan.steps if step.action == "partition")


def test_marked_partitions_are_adopted_wherever_they_lie() -> None:
    drives = [
        drive("a", partitions=(part("runnerfleet-containers"),)),
        drive("b", partitions=(part("runnerfleet-engine"),)),
    ]
    plan = plan_layout(drives, BOTH, "auto", ["/dev/disk/by-id/a"])
    assert not plan.steps and not plan.refusals and not plan.destructive
    assert [(p.volume.name, p.drive.seed, p.partition.uuid) for p in plan.placed] == [
        ("engine", "b", "uuid-runnerfleet-engine"),
        ("containers", "a", "uuid-runnerfleet-containers"),
    ]


def test_replaced_drive_gets_the_missing_volume() -> None:
    plan = plan_layout([drive("new"), drive("b", partitions=(part("runnerfleet-engine"),))], BOTH, "auto", [])
    assert [(s.action, s.target) for s in plan.steps] == [
        ("partition", "/dev/disk/by-id/new"),
        ("format", "/dev/disk/by-id/new"),
    ]


def test_the_same_volume_on_two_drives_is_refused() -> None:
    drives = [drive(n, partitions=(part("runnerfleet-engine"),)) for n in ("a", "b")]
    assert "volume engine lies on" in plan_layout(drives, BOTH, "auto", []).refusals[0]


def test_interrupted_mkfs_starts_over_and_finished_one_is_kept() -> None:
    parts = (part("runnerfleet-engine"), part("runnerfleet-containers.new", 2, filesystem=""))
    plan = plan_layout([drive("a", partitions=parts)], BOTH, "auto", [])
    assert [(s.action, s.placed.volume.name) for s in plan.steps] == [("format", "containers")]


def test_partition_that_the_kernel_does_not_know_is_announced() -> None:
    parts = (replace(part("runnerfleet-engine"), device=""), part("runnerfleet-containers", 2))
    assert [s.action for s in plan_layout([drive("a", partitions=parts)], BOTH, "auto", []).steps] == ["announce"]


CONTENT = st.sampled_from(["blank", "foreign", "busy", "engine", "containers", "both", "both.new", "other", "claimed"])


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Drive], list[str]]:
    """One to three drives with anything on them, and consent to some."""
    drives = []
    for name in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)):
        content, size = draw(CONTENT), draw(st.integers(GIB // MIB, 4096)) * MIB + draw(st.integers(0, 4095)) * 512
        names = {"both": ["engine", "containers"], "both.new": ["engine.new", "containers.new"]}.get(content, [content])
        marked = tuple(part(f"runnerfleet-{n}", i, "" if n.endswith(".new") else "xfs") for i, n in enumerate(names, 1))
        drives.append(
            drive(
                name,
                size=size,
                found=FOREIGN if content == "foreign" else (),
                blocked=(reason("mounted: /"),) if content == "busy" else (),
                claimed=content == "claimed",
                partitions=() if content in ("blank", "foreign", "busy", "claimed") else marked,
            )
        )
    return drives, draw(st.lists(st.sampled_from([d.identity for d in drives]), unique=True))


@given(fleets(), st.sampled_from(["auto", "single", "spread"]))
def test_a_plan_never_writes_to_what_is_not_free(fleet: tuple[list[Drive], list[str]], layout: str) -> None:
    drives, wipe = fleet
    plan = plan_layout(drives, BOTH, layout, wipe)
    if plan.refusals:
        return
    known = {d.identity: d for d in drives}
    for step in plan.steps:
        target = known[step.target]
        if step.action == "partition":
            assert not target.blocked
            ours = any(p.name.startswith("runnerfleet-") for p in target.partitions)
            assert not (target.found or ours) or step.target in wipe
            ends = [0]
            for p in step.partitions:
                assert p.start >= max(ends[-1], MIB) and p.start % MIB == 0 and p.size >= MINIMUM
                ends.append(p.start + p.size)
            assert ends[-1] <= target.size - MIB
    assert all(d["consented"] for d in plan.destructive)


@given(fleets(), st.sampled_from(["auto", "single", "spread"]))
def test_an_applied_plan_leaves_nothing_to_do(fleet: tuple[list[Drive], list[str]], layout: str) -> None:
    drives, wipe = fleet
    plan = plan_layout(drives, BOTH, layout, wipe)
    if not plan.refusals:
        again = plan_layout(applied(drives, plan), BOTH, layout, wipe)
        assert (again.steps, again.destructive, again.refusals) == ([], [], [])
        assert [p.partition.uuid for p in again.placed] == [p.partition.uuid for p in plan.placed]


@given(fleets(), st.randoms(use_true_random=False))
def test_adopted_volumes_do_not_move_when_devices_are_renamed(
    fleet: tuple[list[Drive], list[str]], chance: object
) -> None:
    drives, wipe = fleet
    plan = plan_layout(drives, BOTH, "auto", wipe)
    if plan.refusals or plan.steps:
        return
    shuffled = [replace(d, node=f"/dev/other{i}") for i, d in enumerate(drives)]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    again = plan_layout(shuffled, BOTH, "auto", wipe)
    assert not again.steps and [p.drive.identity for p in again.placed] == [p.drive.identity for p in plan.placed]


def at(name: str, start: int, size: int, number: int = 1) -> Partition:
    """A partition of so many GiB from a GiB on, the first one behind the table."""
    return replace(part(f"runnerfleet-{name}", number), start=start * GIB or MIB, size=size * GIB)


# What lies there, the wish, how each step begins, the refusal.
GROWING_WISHES = {
    "rest": ([at("engine", 0, 4)], [Volume("engine", mount="/e")], ["grow partition 1 (engine) to 10.0 GiB"], ""),
    "size": (
        [at("engine", 0, 4)],
        [Volume("engine", "6GiB", mount="/e")],
        ["grow partition 1 (engine) to 6.0 GiB"],
        "",
    ),
    "rounding": ([at("engine", 0, 6)], [ENGINE], [], ""),
    "as desired": ([at("engine", 0, 4)], [Volume("engine", "4GiB")], [], ""),
    "cut": (
        [at("engine.grow", 0, 4)],
        [Volume("engine", "4GiB", mount="/e")],
        ["grow filesystem engine to its partition"],
        "",
    ),
    "never mounted": ([at("engine.new", 0, 4)], [ENGINE], ["make xfs engine on", "grow partition 1 (engine)"], ""),
    "two": (
        [at("engine", 0, 2), at("containers", 6, 2, 2)],
        [ENGINE, CONTAINERS],
        ["grow partition 1", "grow partition 2"],
        "",
    ),
    "what is left": ([at("engine", 0, 4), at("x", 4, 1, 2)], [Volume("engine", mount="/e")], [], ""),
    "behind": (
        [at("engine", 0, 4), at("x", 5, 1, 2)],
        [Volume("engine", "8GiB", mount="/e")],
        [],
        "there is room for 5.0 GiB",
    ),
    "smaller": ([at("engine", 0, 4)], [Volume("engine", "2GiB", mount="/e")], [], "nothing is shrunk"),
    "no mount": ([at("engine", 0, 4)], [Volume("engine", "6GiB")], [], "this one has no mount"),
    "too much": ([at("engine", 0, 4)], [Volume("engine", "11GiB", mount="/e")], [], "the drive offers"),
}


@pytest.mark.parametrize(("partitions", "volumes", "steps", "refusal"), GROWING_WISHES.values(), ids=GROWING_WISHES)
def test_a_partition_grows_into_the_room_behind_it(
    partitions: list[Partition], volumes: list[Volume], steps: list[str], refusal: str
) -> None:
    found = drive("a", partitions=tuple(partitions))
    plan = plan_layout([found], volumes, "single", [])
    assert refusal in "\n".join(plan.refusals) and bool(plan.refusals) == bool(refusal)
    if not refusal:
        told = [s.text for s in plan.steps + plan.grow]
        assert len(told) == len(steps) and all(
            text.startswith(start) for text, start in zip(told, steps, strict=True)
        ), told
        again = plan_layout(applied([found], plan), volumes, "single", [])
        assert not (again.steps or again.grow or again.refusals)


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(320, 3000)), min_size=1, max_size=3),
    st.lists(st.sampled_from(["rest", "1GiB", "20%", "60%", "5GiB"]), min_size=3, max_size=3),
    st.sampled_from(["single", "spread"]),
)
def test_a_partition_never_grows_into_another_or_shrinks(
    gaps: list[tuple[int, int]], sizes: list[str], layout: str
) -> None:
    parts, end = [], 1
    for number, (gap, size) in enumerate(gaps, 1):
        parts.append(replace(part(f"runnerfleet-v{number}", number), start=(end + gap) * MIB, size=size * MIB))
        end += gap + size
    volumes = [Volume(f"v{number}", size, mount=f"/v{number}") for number, size in enumerate(sizes[: len(parts)], 1)]
    found = drive("a", size=max(10 * GIB, (end + 1) * MIB), partitions=tuple(parts))
    plan = plan_layout([found, *(drive(n) for n in "bc"[: len(parts) - 1] if layout == "spread")], volumes, layout, [])
    ends = [p.start for p in parts[1:]] + [found.size - MIB]
    for step in plan.grow:
        after = step.placed.partition
        before = parts[after.number - 1]
        assert after.start == before.start and before.size < after.size <= ends[after.number - 1] - after.start
    assert not plan.steps and not plan.destructive
