"""File systems, and whether SQLite's locks are to be relied on there."""

from __future__ import annotations

from pathlib import Path

import psutil

NETWORK = (
    "nfs", "cifs", "smb", "fuse.", "lustre", "gpfs", "beegfs", "ceph", "gluster", "9p", "afs", "afpfs",
    "webdav", "davfs", "pvfs", "orangefs", "vboxsf", "prl_fs", "vmhgfs",
)  # fmt: skip


def network_of(path: Path) -> str:
    """The kind of network file system that a path is on; empty if it is on none."""
    path = path.resolve()
    best, kind, options = "", "", ""
    for mount in psutil.disk_partitions(all=True):
        if path.is_relative_to(mount.mountpoint) and len(mount.mountpoint) >= len(best):
            best, kind, options = mount.mountpoint, mount.fstype, mount.opts
    if "remote" in options.split(","):  # Windows tells NTFS of a share
        return f"remote {kind}".strip()
    return kind if kind.lower().startswith(NETWORK) else ""
