"""A batch's file: opened, refused, local and on a network file system."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from plans import must_claim, new, opened, plan, states, work

from vidsr.batch import claims, database
from vidsr.batch.database import FILE_NAME, VERSION
from vidsr.batch.filesystems import file_system_of, is_network, is_network_type
from vidsr.batch.store import Store
from vidsr.errors import OptionsError, OutputError


def _pragma(folder: Path, name: str) -> object:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize("network", [False, True])
def test_a_plan_outlives_its_process(tmp_path: Path, network: bool) -> None:
    folder = tmp_path / "a ?#%41 b" / "état"  # made, and a name that is no address
    with opened(folder, network=network) as store:
        store.add([new("a"), new("b")])
        plan(store)
        before = (store.jobs(), store.tasks())
        assert store.network is network
    assert (folder / FILE_NAME).exists()
    with opened(folder, network=network, create=False) as store:
        assert (store.jobs(), store.tasks()) == before
        work(store)
        assert set(states(store).values()) == {"done"}
        store.close()


def test_journals(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new("a")])
        assert (tmp_path / f"{FILE_NAME}-wal").exists()
        assert _pragma(tmp_path, "journal_mode") == "wal"
        connection = store._database._connection
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        store.beat("w", "h", 1)  # which does without
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    with opened(tmp_path, network=True) as store:  # as if the folder had been moved there
        assert states(store) == {"a": "waiting"}
        store.add([new("b")])
        assert not (tmp_path / f"{FILE_NAME}-wal").exists()
        connection = store._database._connection
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
        assert connection.execute("PRAGMA locking_mode").fetchone()[0] == "exclusive"
    with opened(tmp_path) as store:
        assert states(store) == {"a": "waiting", "b": "waiting"}
    assert _pragma(tmp_path, "journal_mode") == "wal"


@pytest.mark.clock
def test_one_driver_on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_REFUSED_S", 30.0)  # which the folder's lock spares
    began = time.monotonic()
    refused = "another vidsr is working on this batch, and on a network file system only one may"
    with opened(tmp_path, network=True) as store:
        store.add([new("a")])
        with pytest.raises(OptionsError, match=refused):
            Store.open(tmp_path, create=True, network=True)
        code = (
            "import sys; from pathlib import Path; from vidsr.batch.store import Store\n"
            "Store.open(Path(sys.argv[1]), create=False, network=True)"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60, check=False
        )
        assert refused in other.stderr
        assert time.monotonic() - began < 25
        work(store)
    # Where flock is a local matter, SQLite's own lock refuses as well, before anything was written.
    monkeypatch.setattr(database, "_REFUSED_S", 0.1)
    monkeypatch.setattr(database, "lock_folder", lambda _: (tmp_path / "other").open("ab"))
    with opened(tmp_path, network=True) as store:
        with pytest.raises(OptionsError, match=refused):
            Store.open(tmp_path, create=True, network=True)
        assert states(store) == {"a": "done"}


def test_a_network_driver_is_refused_while_local_ones_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_REFUSED_S", 0.1)
    with opened(tmp_path) as store:
        store.add([new("a")])
        with pytest.raises(OptionsError, match="only one may"):
            Store.open(tmp_path, create=True, network=True)
        work(store)


def test_no_batch(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="there is no batch here"):
        Store.open(tmp_path / "none", create=False)
    (tmp_path / FILE_NAME).touch()  # as one that was killed before its first transaction leaves it
    with pytest.raises(OptionsError, match="there is no batch here"):
        Store.open(tmp_path, create=False, network=False)
    with opened(tmp_path) as store:
        assert store.jobs() == ()


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("content", [b"garbage" * 1000, b"x", b"SQLite format 3\0" + bytes(200)])
def test_what_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes, network: bool) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(OptionsError, match="this is no database"):
        Store.open(tmp_path, create=True, network=network)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_another_programs_database_is_refused_and_kept(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE jobs (x)")
    content = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(OptionsError, match="this database is another program's"):
        Store.open(tmp_path, create=True, network=False)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_newer_plan_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).__enter__().close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(OptionsError, match="another version of vidsr"):
        Store.open(tmp_path, create=True, network=False)
    assert _pragma(tmp_path, "user_version") == VERSION + 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write here"):
        Store.open(tmp_path / "file" / "state", create=True)


def test_damage_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new(f"{n}") for n in range(200)])
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 8)
    with opened(tmp_path) as store, pytest.raises(OutputError, match="cannot be read or written"):
        store.jobs()


def _interrupted(db: sqlite3.Connection, *_: object) -> None:
    db.execute("INSERT INTO workers (id, host, begun, beat) VALUES ('w', 'h', 0, 0)")
    raise KeyboardInterrupt


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        monkeypatch.setattr(claims, "seen", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.beat("w", "h", 1)
        monkeypatch.undo()
        assert store.workers() == ()
        store.beat("v", "h", 1)
        assert [w.id for w in store.workers()] == ["v"]


def test_threads_share_a_store(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([new(f"{n}") for n in range(8)])
        ids: list[int] = []
        run = [threading.Thread(target=lambda: ids.append(must_claim(store).id)) for _ in range(8)]
        for thread in run:
            thread.start()
        for thread in run:
            thread.join()
        assert len(set(ids)) == 8


def test_a_fork_needs_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        monkeypatch.setattr(os, "getpid", lambda: 0)
        with pytest.raises(RuntimeError, match="open a Store in each process"):
            store.jobs()


@pytest.mark.parametrize(
    ("kind", "network"),
    [(k, True) for k in "nfs nfs4 cifs smb3 smbfs 9p glusterfs lustre ceph gpfs beegfs afs virtiofs".split()]
    + [(k, True) for k in "fuse.sshfs fuse.s3fs fuse.rclone fuse.anything fuse fuse.".split()]
    + [(k, False) for k in "ext4 xfs btrfs zfs tmpfs overlay fuseblk vfat fuse.ntfs-3g".split()],
)
def test_types_of_file_systems(kind: str, network: bool) -> None:
    assert is_network_type(kind) is network


def test_this_folders_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert (file_system_of(tmp_path) or "").replace("ext4", "ext2/ext3") == kind.replace(
        "overlayfs", "overlay"
    )
    assert file_system_of(Path("/proc")) == "proc"
    assert file_system_of(tmp_path, proc=tmp_path) is None
    monkeypatch.setattr("vidsr.batch.filesystems.file_system_of", lambda _: None)
    assert is_network(tmp_path)


def test_the_mount_decides_not_the_name(tmp_path: Path) -> None:
    fdinfo = tmp_path / "fdinfo"
    fdinfo.mkdir()
    for number in range(64):  # whichever descriptor the folder gets
        (fdinfo / str(number)).write_text("pos:\t0\nflags:\t0200000\nmnt_id:\t41\n")
    (tmp_path / "mountinfo").write_text(
        "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        f"41 27 0:50 / {tmp_path} rw,relatime shared:2 master:1 - nfs4 - rw,vers=4.2\n"
        f"42 41 0:51 / {tmp_path} rw - tmpfs - rw\n"
    )
    assert file_system_of(tmp_path, proc=tmp_path) == "nfs4"


def test_a_mounted_folder(tmp_path: Path, mounts: None) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        assert file_system_of(tmp_path) == "tmpfs"
        assert not is_network(tmp_path)
        with Store.open(tmp_path, create=True) as store, pytest.raises(OutputError, match="free some space"):
            store.add([new(f"{n:0200}") for n in range(5000)])
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
