"""The planner of stripes: tables for what it says, properties for what it must never do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme import model
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.model import (
    EXTENT,
    MIB,
    Drive,
    Group,
    Layout,
    Partition,
    Step,
    Volume,
)
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.plan_stripe import plan_stripe
from ansible_collections.runnerfleet.baremetal.plugins.module_utils._nvme.steps import (
    CreateVolumeGroup,
    ExtendVolumeGroup,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plugins.drives import reason

GIB = 1024**3
ENGINE, CONTAINERS = Volume("engine", "60%", mount="/engine"), Volume("containers", mount="/containers")
BOTH = (ENGINE, CONTAINERS)


def drive(name: str, **options: object) -> Drive:
    """A blank drive of 10 GiB."""
    base = Drive(f"/dev/disk/by-id/{name}", f"/dev/{name}", 10 * GIB, seed=name)
    return replace(base, **options)  # type: ignore[arg-type]


def extents(step: Step) -> int:
    """What a step takes."""
    return sum(size for size, _nodes in step.pieces)


def after(drives: Sequence[Drive], group: Group, plan: Layout) -> tuple[list[Drive], Group]:
    """Drives and volume group as they are once a plan was applied."""
    seeds = {d.node: d.seed for d in drives}
    total, free, volumes = dict(group.total), dict(group.free), {p.name.removesuffix(".new"): p for p in group.volumes}
    for step in [*plan.steps, *plan.grow]:
        for size, nodes in getattr(step, "pieces", ()):
            for node in nodes:
                free[seeds[node]] -= size // len(nodes)
                assert free[seeds[node]] >= 0, step
        if step.action == "group":
            fresh = {d.seed: (d.size - MIB) // EXTENT for d in step.drives}
            total.update(fresh)
            free.update(fresh)
        if step.action in ("volume", "grow"):
            name = f"runnerfleet-{step.target}"
            had = volumes.get(name, Partition(0, name, 0, 0))
            volumes[name] = replace(had, size=had.size + EXTENT * extents(step), device="253:1")
        if step.action == "format":
            place = step.placed
            name = f"runnerfleet-{place.volume.name}"
            volumes[name] = replace(
                volumes[name], name=name, filesystem=place.volume.filesystem, uuid=place.partition.uuid
            )
    members = [
        replace(
            d, member="vg", found=(reason("signature: LVM2_member"),), blocked=(reason("holder: dm-0"),), claimed=False
        )
        for d in drives
    ]
    return members, Group(uuid="vg", drives=tuple(total), total=total, free=free, volumes=tuple(volumes.values()))


def stood(drives: Sequence[Drive], volumes: Sequence[Volume] = BOTH) -> tuple[list[Drive], Group]:
    """A volume group that exists."""
    plan = plan_stripe(drives, Group(), volumes, "lvm", [])
    assert not plan.refusals
    return after(drives, Group(), plan)


def told(plan: Layout) -> list[str]:
    """Action and target of each step."""
    return [f"{s.action} {s.target}" for s in [*plan.steps, *plan.grow]]


def test_fresh_drives_become_one_group_with_volumes_across_all() -> None:
    plan = plan_stripe([drive("a"), drive("b")], Group(), BOTH, "lvm", [])
    assert told(plan) == [
        "group runnerfleet",
        "volume engine",
        "format runnerfleet",
        "volume containers",
        "format runnerfleet",
    ]
    assert not plan.refusals and not plan.destructive
    engine, containers = (s for s in plan.steps if s.action == "volume")
    assert engine.pieces == ((3070, ("/dev/a", "/dev/b")),) and "2 stripes" in plan.steps[1].text
    assert engine.pieces[0][0] + containers.pieces[0][0] == 2 * 2559
    assert plan.steps[0].tags == ("runnerfleet", "runnerfleet.drive=a", "runnerfleet.drive=b")
    assert [(p.volume.name, p.partition.node) for p in plan.placed] == [
        ("engine", "/dev/runnerfleet/engine"),
        ("containers", "/dev/runnerfleet/containers"),
    ]


def test_one_drive_is_linear() -> None:
    plan = plan_stripe([drive("a")], Group(), BOTH, "lvm", [])
    assert [s.text for s in plan.steps if s.action == "volume"] == [
        "make volume engine, 6.0 GiB, linear",
        "make volume containers, 4.0 GiB, linear",
    ]


def test_a_stripe_is_as_wide_as_the_smallest_drive_allows() -> None:
    plan = plan_stripe([drive("a"), drive("b", size=100 * GIB)], Group(), BOTH, "lvm", [])
    assert sum(extents(s) for s in plan.steps if s.action == "volume") == 2 * 2559


@pytest.mark.parametrize(
    ("drives", "volumes", "stripe_with", "wipe", "expected"),
    [
        pytest.param(
            "ab", (Volume("snapshot1"),), "lvm", [], "volume name snapshot1 means something else to LVM", id="reserved"
        ),
        pytest.param("a", BOTH, "raid0", [], "raid0 takes two drives at least, found 1", id="raid-of-one"),
        pytest.param("ab", (Volume("a"), Volume("b")), "lvm", [], "only one volume may have size rest", id="two-rests"),
        pytest.param(
            "ab", (Volume("a", "30GiB"),), "lvm", [], "a needs 30.0 GiB, free are: a 10.0 GiB, b 10.0 GiB", id="too-big"
        ),
        pytest.param(
            "ab", (Volume("a", "100%"), Volume("b")), "lvm", [], "volume b would get 0 bytes", id="nothing-left"
        ),
        pytest.param("aa", BOTH, "lvm", [], "which is named twice", id="same-drive"),
        pytest.param("", BOTH, "lvm", [], "drives is empty", id="no-drive"),
    ],
)
def test_wishes_that_are_refused(
    drives: str, volumes: tuple[Volume, ...], stripe_with: str, wipe: list[str], expected: str
) -> None:
    plan = plan_stripe([drive(name) for name in drives], Group(), volumes, stripe_with, wipe)
    assert expected in "\n".join(plan.refusals)


FOREIGN = (reason("signature: LVM2_member of volume group data"),)
MARKED = (Partition(1, "runnerfleet-engine", MIB, GIB, "/dev/b1", "xfs", "u", "259:1"),)


@pytest.mark.parametrize("stripe_with", ["lvm", "raid0"])
@pytest.mark.parametrize(
    ("second", "wipe", "refused", "wiped"),
    [
        pytest.param(drive("b", found=FOREIGN), [], 'wipe: ["/dev/disk/by-id/b"]', True, id="foreign"),
        pytest.param(drive("b", found=FOREIGN), ["/dev/disk/by-id/b"], "", True, id="consent"),
        pytest.param(
            drive("b", found=FOREIGN, blocked=(reason("holder: dm-0"),)),
            ["/dev/disk/by-id/b"],
            "`wipe` does not cover this",
            True,
            id="in-use",
        ),
        pytest.param(drive("b", blocked=(reason("boot: /"),)), ["/dev/disk/by-id/b"], "boot: /", False, id="boot"),
        pytest.param(
            drive("b", partitions=MARKED),
            [],
            "is not empty: partitions: runnerfleet-engine",
            True,
            id="other-layout-of-ours",
        ),
        pytest.param(drive("b", claimed=True), [], "", False, id="interrupted"),
    ],
)
def test_what_lies_on_a_drive(second: Drive, wipe: list[str], refused: str, wiped: bool, stripe_with: str) -> None:
    plan = plan_stripe([drive("a"), second], Group(stripe_with), BOTH, stripe_with, wipe)
    assert bool(plan.refusals) == bool(refused) and refused in "\n".join(plan.refusals)
    assert bool(plan.destructive) == wiped
    if not refused:
        assert plan.steps[0].wipe == ((second.identity,) if wiped else ()) and ("WIPE" in plan.steps[0].text) == wiped


def test_a_converged_group_is_left_alone() -> None:
    drives, group = stood([drive("a"), drive("b"), drive("c")])
    plan = plan_stripe(list(reversed(drives)), group, BOTH, "lvm", ["/dev/disk/by-id/a"])
    assert (told(plan), plan.refusals, plan.destructive) == ([], [], [])


def test_a_drive_that_is_added_gives_its_space_to_the_volumes() -> None:
    drives, group = stood([drive("a"), drive("b")])
    drives.append(drive("c"))
    plan = plan_stripe(drives, group, BOTH, "lvm", [])
    assert not plan.refusals and not plan.destructive
    assert told(plan)[0] == "group runnerfleet" and told(plan)[-2:] == ["grow engine", "grow containers"]
    assert isinstance(plan.steps[0], ExtendVolumeGroup) and [d.seed for d in plan.steps[0].drives] == ["c"]
    assert all(nodes == ("/dev/c",) for s in [*plan.steps, *plan.grow] for _size, nodes in getattr(s, "pieces", ()))
    again = plan_stripe(*after(drives, group, plan), BOTH, "lvm", [])
    assert (told(again), again.refusals) == ([], [])


def test_two_drives_that_are_added_give_two_stripes() -> None:
    drives, group = stood([drive("a"), drive("b")])
    plan = plan_stripe([*drives, drive("c"), drive("d")], group, BOTH, "lvm", [])
    assert [s.text for s in plan.grow] == [
        "grow volume engine to 24.0 GiB, 2 stripes",
        "grow volume containers to 16.0 GiB, 2 stripes",
    ]


def changed(group: Group, **options: object) -> Group:
    return replace(group, **options)  # type: ignore[arg-type]


STOOD, GROUP = stood([drive("a"), drive("b")])
INACTIVE = tuple(replace(p, device="", filesystem="") for p in GROUP.volumes)
SNAPSHOT = Partition(0, "runnerfleet-before", 0, GIB, "/dev/runnerfleet/before")
NEW_ENGINE = tuple(
    replace(p, name=p.name + ".new", filesystem="") if p.name.endswith("engine") else p for p in GROUP.volumes
)


@pytest.mark.parametrize(
    ("group", "volumes", "expected"),
    [
        pytest.param(
            changed(GROUP, missing=("eui.x",)), BOTH, "lacks eui.x: bring the drive back, or let playbook", id="missing"
        ),
        pytest.param(
            changed(GROUP, refusal="not ours: vgrename it"), BOTH, "not ours: vgrename it", id="foreign-group"
        ),
        pytest.param(
            changed(GROUP, drives=("a", "b", "x")),
            BOTH,
            "lies on x too, which drives does not name",
            id="one-not-named",
        ),
        pytest.param(
            GROUP,
            (replace(ENGINE, size="1GiB"), CONTAINERS),
            "volume engine has 12.0 GiB, desired is 1.0 GiB",
            id="shrink",
        ),
        pytest.param(
            GROUP,
            (replace(ENGINE, filesystem="ext4"), CONTAINERS),
            "holds xfs, desired is ext4: to give up",
            id="filesystem",
        ),
        pytest.param(
            changed(GROUP, foreign=frozenset({"engine"})),
            BOTH,
            "volume engine is thin, which this role neither",
            id="thin",
        ),
        pytest.param(GROUP, (*BOTH, Volume("more", "2GiB")), "more needs 2.0 GiB, free are: a 0 bytes", id="no-room"),
        pytest.param(
            GROUP, (replace(ENGINE, size="15GiB", mount=""), CONTAINERS), "give it a mount", id="grow-unmounted"
        ),
    ],
)
def test_a_group_that_is_refused(group: Group, volumes: tuple[Volume, ...], expected: str) -> None:
    plan = plan_stripe(STOOD, group, volumes, "lvm", [])
    assert expected in "\n".join(plan.refusals), plan.refusals


@pytest.mark.parametrize(
    ("group", "actions"),
    [
        pytest.param(changed(GROUP, volumes=NEW_ENGINE), ["format runnerfleet"], id="interrupted-mkfs"),
        pytest.param(changed(GROUP, growing=frozenset({"engine"})), ["grow engine"], id="interrupted-growth"),
        pytest.param(
            changed(GROUP, volumes=GROUP.volumes[1:], free={"a": 1536, "b": 1536}),
            ["volume engine", "format runnerfleet"],
            id="removed",
        ),
        pytest.param(changed(GROUP, volumes=INACTIVE), ["activate runnerfleet"], id="inactive"),
        pytest.param(changed(GROUP, volumes=(*GROUP.volumes, SNAPSHOT)), [], id="somebody's snapshot"),
    ],
)
def test_what_is_unfinished_is_finished(group: Group, actions: list[str]) -> None:
    plan = plan_stripe(STOOD, group, BOTH, "lvm", [])
    assert (told(plan), plan.refusals) == (actions, [])


def test_a_group_that_lost_a_drive_is_given_up_by_consent_for_all_that_is_left() -> None:
    free = [replace(d, blocked=()) for d in STOOD]
    group = changed(GROUP, missing=("x",))
    assert plan_stripe(free, group, BOTH, "lvm", ["/dev/disk/by-id/a"]).refusals
    plan = plan_stripe([*free, drive("c")], group, BOTH, "lvm", ["/dev/disk/by-id/a", "/dev/disk/by-id/b"])
    (first, *_rest) = plan.steps
    assert not plan.refusals and isinstance(first, CreateVolumeGroup)
    assert first.wipe == tuple(d.identity for d in free)
    in_use = plan_stripe([*STOOD, drive("c")], group, BOTH, "lvm", ["/dev/disk/by-id/a", "/dev/disk/by-id/b"])
    assert "`wipe` does not cover this" in in_use.refusals[0]


def test_a_claim_that_was_left_is_cleared() -> None:
    plan = plan_stripe([replace(STOOD[0], claimed=True), STOOD[1]], GROUP, BOTH, "lvm", [])
    assert told(plan) == ["unclaim /dev/disk/by-id/a"]


RAID = [
    drive(n, member="md", found=(reason("signature: linux_raid_member"),), blocked=(reason("holder: md127"),))
    for n in "abc"
]
TABLE = tuple(
    Partition(n, f"runnerfleet-{v.name}", MIB, GIB, f"/dev/md127p{n}", "xfs", v.name, f"259:{n}")
    for n, v in enumerate(BOTH, 1)
)
ARRAY = Drive(model.ARRAY, "/dev/md127", 19 * GIB, seed="a+b+c", partitions=TABLE)
RUNNING = Group("md", "md", drives=("a", "b", "c"), level="raid0", array=ARRAY, holder="md127")
LOST = changed(RUNNING, drives=("a", "b"), level="raid10", missing=("drive 1",))


@pytest.mark.parametrize(("level", "size"), [("raid0", 2 * (10 * GIB - 16 * MIB)), ("raid10", 10 * GIB - 16 * MIB)])
def test_an_array_is_made_and_partitioned(level: str, size: int) -> None:
    plan = plan_stripe([drive("a"), drive("b")], Group("md"), BOTH, level, [])
    assert not plan.refusals and [s.action for s in plan.steps] == ["array", "partition", "format", "format"]
    assert plan.steps[1].drive.size == size and plan.placed[0].partition.node == "/dev/md/runnerfleet1"


@pytest.mark.parametrize(
    ("drives", "group", "level", "actions", "refused"),
    [
        pytest.param(RAID, RUNNING, "raid0", [], "", id="converged"),
        pytest.param(RAID, RUNNING, "raid10", [], "is a raid0, desired is raid10", id="other-level"),
        pytest.param(
            [*RAID, drive("d")],
            RUNNING,
            "raid0",
            [],
            "an md array does not grow: take /dev/disk/by-id/d out",
            id="one-more",
        ),
        pytest.param(RAID[:2], RUNNING, "raid0", [], "lies on c too, which drives does not name", id="one-not-named"),
        pytest.param(RAID[:2], changed(LOST, level="raid0", array=None), "raid0", [], "lacks drive 1", id="lost"),
        pytest.param(RAID, changed(RUNNING, array=None, holder=""), "raid0", ["assemble"], "", id="stopped"),
        pytest.param([replace(RAID[0], claimed=True), *RAID[1:]], RUNNING, "raid0", ["unclaim"], "", id="claim-left"),
        pytest.param(
            [replace(d, claimed=True, found=()) for d in RAID],
            changed(RUNNING, missing=("drive 1",), array=None),
            "raid0",
            ["array", "partition", "format", "format"],
            "",
            id="interrupted-create",
        ),
        pytest.param([*RAID[:2], drive("d")], LOST, "raid10", ["rebuild"], "", id="replaced"),
        pytest.param(
            [*RAID[:2], drive("d")], changed(LOST, array=None), "raid10", ["assemble"], "", id="replaced-before-it-runs"
        ),
        pytest.param(RAID[:2], changed(LOST, array=None), "raid10", [], "lacks drive 1", id="lost-before-it-runs"),
        pytest.param(RAID[:2], LOST, "raid10", [], "name 1 more in drives", id="degraded"),
    ],
)
def test_an_array_that_exists(drives: list[Drive], group: Group, level: str, actions: list[str], refused: str) -> None:
    plan = plan_stripe(drives, group, BOTH, level, [])
    assert bool(plan.refusals) == bool(refused) and refused in "\n".join(plan.refusals)
    assert refused or [s.action for s in plan.steps] == actions


CONTENT = st.sampled_from(["blank", "blank", "blank", "foreign", "busy", "claimed", "marked"])


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Drive], list[str]]:
    """One to five drives with anything on them, and consent to some."""
    drives = []
    for name in draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True)):
        content, size = draw(CONTENT), draw(st.integers(2048, 65536)) * MIB + draw(st.integers(0, 4095)) * 512
        drives.append(
            drive(
                name,
                size=size,
                found=FOREIGN if content == "foreign" else (),
                blocked=(reason("mounted: /"),) if content == "busy" else (),
                claimed=content == "claimed",
                partitions=MARKED if content == "marked" else (),
            )
        )
    return drives, draw(st.lists(st.sampled_from([d.identity for d in drives]), unique=True))


@st.composite
def wishes(draw: st.DrawFn) -> list[Volume]:
    """One to three volumes that may or may not fit."""
    count = draw(st.integers(1, 3))
    sizes = [draw(st.sampled_from(["10%", "25%", "33%", "60%", "1GiB", "3GiB", "999MB"])) for _n in range(count)]
    sizes[draw(st.integers(0, count - 1))] = "rest"
    return [Volume(f"v{n}", size, mount=f"/v{n}") for n, size in enumerate(sizes)]


@settings(max_examples=300, deadline=None)
@given(fleets(), wishes())
def test_a_plan_writes_to_free_or_consented_drives_only_and_within_them(
    fleet: tuple[list[Drive], list[str]], volumes: list[Volume]
) -> None:
    drives, wipe = fleet
    plan = plan_stripe(drives, Group(), volumes, "lvm", wipe)
    if plan.refusals:
        return
    for step in plan.steps:
        if step.action == "group":
            assert all(not d.blocked and (not (d.found or d.partitions) or d.identity in wipe) for d in step.drives)
    # `after` asserts that no drive gives more than it has.
    members, group = after(drives, Group(), plan)
    again = plan_stripe(members, group, volumes, "lvm", [])
    assert (told(again), again.refusals, again.destructive) == ([], [], [])
    assert [p.partition.uuid for p in again.placed] == [p.partition.uuid for p in plan.placed]


@settings(max_examples=300, deadline=None)
@given(fleets(), wishes(), st.integers(2048, 65536))
def test_growth_ends_where_nothing_is_left_to_do(
    fleet: tuple[list[Drive], list[str]], volumes: list[Volume], more: int
) -> None:
    drives = [replace(d, found=(), blocked=(), partitions=()) for d in fleet[0]]
    plan = plan_stripe(drives, Group(), volumes, "lvm", [])
    if plan.refusals:
        return
    members, group = after(drives, Group(), plan)
    wider = [*members, drive("z", size=more * MIB)]
    grown = plan_stripe(wider, group, volumes, "lvm", [])
    if grown.refusals:
        return
    assert all(
        p.size <= next(q.partition.size for q in grown.placed if q.partition.name == p.name) for p in group.volumes
    )
    again = plan_stripe(*after(wider, group, grown), volumes, "lvm", [])
    assert (told(again), again.refusals) == ([], [])


@settings(max_examples=200, deadline=None)
@given(fleets(), wishes(), st.randoms(use_true_random=False), st.sampled_from(["lvm", "raid0", "raid10"]))
def test_names_and_order_of_devices_mean_nothing(
    fleet: tuple[list[Drive], list[str]], volumes: list[Volume], chance: object, stripe_with: str
) -> None:
    drives, wipe = fleet
    plan = plan_stripe(drives, Group(stripe_with), volumes, stripe_with, wipe)
    shuffled = [replace(d, node=f"/dev/other{i}") for i, d in enumerate(drives)]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    again = plan_stripe(shuffled, Group(stripe_with), volumes, stripe_with, wipe)
    assert bool(again.refusals) == bool(plan.refusals)
    if not plan.refusals:
        sizes = [[(p.volume.name, p.partition.size, p.partition.uuid) for p in one.placed] for one in (plan, again)]
        assert sizes[0] == sizes[1]
