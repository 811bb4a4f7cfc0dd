"""Whether a folder lies on a local disk or on a network file system."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["file_system_of", "is_network", "is_network_type"]

# The network set of systemd (`fstype_is_network` and `FILESYSTEM_SET_NETWORK`), and what it leaves out:
# the kernel's other file systems of clusters, and those by which a virtual machine sees its host's folders
# (9p, virtiofs, vboxsf, vmhgfs): another machine may have those open as well.
_NETWORK = frozenset(
    "9p acfs afs beegfs ceph cifs coda davfs fhgfs gfs gfs2 glusterfs gpfs lustre ncp ncpfs nfs nfs4 ocfs2 "
    "orangefs panfs prl_fs pvfs2 smb3 smbfs sshfs vboxsf virtiofs vmhgfs weka wekafs".split()
)

# Of FUSE's file systems these keep their files on a disk of this machine. Any other may be a network's.
# `fuseblk`, which lies on a block device, has no dot and is local.
_LOCAL_FUSE = frozenset("exfat ext2 fuse-overlayfs gocryptfs ntfs ntfs-3g".split())


def is_network_type(kind: str) -> bool:
    """Return whether a type of file system, as ``/proc/self/mountinfo`` names it, is one of a network.

    Of what is mounted by FUSE everything is, but for what is known to be local.
    """
    if kind == "fuse":
        return True
    if kind.startswith("fuse."):
        return kind.removeprefix("fuse.") not in _LOCAL_FUSE
    return kind in _NETWORK


def file_system_of(folder: Path, *, proc: Path = Path("/proc/self")) -> str | None:
    """Return the type of the file system on which a folder lies, such as "ext4"; None: it cannot be told.

    The kernel numbers its mounts; ``fdinfo`` tells an open folder's (proc_pid_fdinfo(5)), ``mountinfo`` the
    type of each (proc_pid_mountinfo(5)). Names are not compared, so links and mounts above others do not
    matter.

    Args:
        folder: It must exist.
        proc: Where the kernel tells of this process.

    Raises:
        OSError: The folder cannot be opened.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        told = (proc / "fdinfo" / str(number)).read_text(encoding="ascii")
        mounts = (proc / "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None  # no /proc here
    finally:
        os.close(number)
    mount = next((line.split()[1] for line in told.splitlines() if line.startswith("mnt_id:")), None)
    for line in mounts.splitlines():
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw: optional fields end with a hyphen
        fields = line.split(" ")
        if fields[0] == mount and "-" in fields[6:]:
            return fields[fields.index("-", 6) + 1]
    return None


def is_network(folder: Path) -> bool:
    """Return whether a folder is to be treated as one of a network; so is one of which it cannot be told.

    Raises:
        OSError: The folder cannot be opened.
    """
    kind = file_system_of(folder)
    return kind is None or is_network_type(kind)
