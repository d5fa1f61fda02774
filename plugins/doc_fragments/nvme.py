# Copyright (c) 2026 runnerfleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


from __future__ import annotations


class ModuleDocFragment:
    """Drives, layout and volumes, as M(runnerfleet.baremetal.nvme_layout) takes them."""

    DOCUMENTATION = r"""
options:
  drives:
    description:
      - The drives to use, each by a path below C(/dev/disk/by-id), by its wwid or by its serial.
      - Kernel names such as C(/dev/nvme0n1) are refused, because they may mean another drive after the next boot; so is
        a name that means two drives. A namespace that shows as several devices is one drive.
      - With O(layout=stripe) and O(stripe_with=lvm), one more drive than before extends the volume group, and one more
        with O(stripe_with=raid10) takes the place of a lost one.
    type: list
    elements: str
  select:
    description:
      - The drives to use, by a rule instead of by name. Only NVMe namespaces that are proven empty or carry our volumes
        already count, never the boot drive, never one in use.
      - Drives that carry our volumes stay the chosen ones. Where they are fewer than O(select.count), nothing else is
        taken in their place.
    type: dict
    suboptions:
      count:
        description: How many drives there must be, exactly. Otherwise every drive is listed with what speaks for and
          against it.
        type: int
        required: true
      min_size:
        description: Smallest size, such as V(900GB).
        type: str
        default: ""
      max_size:
        description: Largest size.
        type: str
        default: ""
      model:
        description: A regular expression that is found in the model's name.
        type: str
        default: ""
  layout:
    description:
      - V(single) puts all volumes on one drive, V(spread) gives each volume a drive of its own, V(stripe) puts all
        volumes across all drives, as wide as the smallest allows.
      - V(auto) is V(single) for one drive and V(spread) for as many drives as volumes. A stripe has to be asked for,
        since the loss of one drive may lose all of it.
    type: str
    choices: [auto, single, spread, stripe]
    default: auto
  stripe_with:
    description:
      - What joins the drives with O(layout=stripe). V(lvm) is a volume group with striped volumes, which can grow.
      - V(raid0) and V(raid10) are md arrays, partitioned like a drive.
    type: str
    choices: [lvm, raid0, raid10]
    default: lvm
  volumes:
    description: The filesystems to have.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the volume, at most 12 of a-z, 0-9 and C(-).
        type: str
        required: true
      size:
        description:
          - Size such as V(200GiB), a share such as V(60%) of the drive or of the stripe, or V(rest). A volume with a
            drive of its own takes all of it, unless the size is absolute.
          - A volume whose size grew is extended while it is mounted; on partitions into what lies free right behind its
            own. A size that there is no room for is refused, and so is a smaller one.
        type: str
        default: rest
      filesystem:
        description: Filesystem to make, xfs with reflinks.
        type: str
        choices: [xfs, ext4, btrfs]
        default: xfs
      mount:
        description: Where to mount it. Without one, the filesystem is made and left alone.
        type: path
      options:
        description: Mount options.
        type: str
        default: noatime
      owner:
        description: Owner of the mounted filesystem's root, by name or number; left alone when not set.
        type: str
        default: ""
      group:
        description: Group of the mounted filesystem's root, by name or number; left alone when not set.
        type: str
        default: ""
      mode:
        description: Mode of the mounted filesystem's root in octal, such as V("0750"); left alone when not set.
        type: str
        default: ""
      binds:
        description: Directories of the volume that appear elsewhere, such as C(/var/lib/containerd). Data that lies
          there already moves to the volume once, the old copy stays beside it.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: Name of the directory on the volume.
            type: str
            required: true
          target:
            description: Where it appears.
            type: path
            required: true
  wipe:
    description: Drives, each by a name that O(drives) accepts and that means it alone, whose content may be destroyed.
      Never covers a drive in use, and never one that carries the desired volumes already.
    type: list
    elements: str
    default: []
  services:
    description: Units that must not start before the volumes are mounted.
    type: list
    elements: str
    default: [containerd.service, kubelet.service]
"""
