"""Batches on Ray's local cluster of two nodes: results as vidsr upscale makes them, also when a node dies."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vidsr
from vidsr.batch.cluster import ClusterDriver
from vidsr.batch.driver import DriverOptions
from vidsr.batch.rows import NewJob, Task
from vidsr.batch.store import Store
from vidsr.errors import BackendError, BackendUnavailableError, OptionsError

sys.path.insert(0, str(Path(__file__).parents[1] / "media"))
from synth import make_clip
from waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.media,
    # Ray's own: it leaves sockets and logs to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]

COMMON = {"backend": "nearest", "preset": "ultrafast", "segment_frames": 12, "encoder_threads": 1}
TWO = DriverOptions(workers=2, threads=1)
NODE = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 << 20}
"""What a node has; the GPU only in name."""


@pytest.fixture(scope="module")
def ray(ray_installed: None) -> Iterator[Any]:
    """Ray, with a token and a short folder of its own, and nothing of it afterwards."""
    # Not in /tmp: Ray keeps its logs there open as long as the process lives, which is no test's fault.
    folder = tempfile.mkdtemp(prefix="r", dir="/var/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        yield ray
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def head(ray: Any) -> Iterator[Any]:
    """A cluster of one node."""
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
    made = Cluster(
        initialize_head=True,
        head_node_args={**NODE, "include_dashboard": False, "_system_config": quick},
    )
    yield made
    made.shutdown()


@pytest.fixture
def cluster(ray: Any, head: Any) -> Iterator[Any]:
    """The cluster with another node, if an earlier test has killed that."""
    if not head.worker_nodes:
        head.add_node(**NODE)
    yield head
    assert not ray.is_initialized()


class DeadlyStore(Store):
    """Kills the second node once its worker has got a segment, which it holds then."""

    cluster: Any = None
    driver: Any = None
    struck = False

    def claim(self, worker: str, **how: Any) -> Task | None:
        if self.cluster is None:
            return super().claim(worker, **how)
        (doomed,) = self.cluster.worker_nodes or (None,)
        here = doomed is not None and self.driver.places.get(worker) == doomed.node_id
        if not (self.struck or here) and any(job.segments for job in self.jobs()):
            return None  # segments are the other node's until it has died
        task = super().claim(worker, **how)
        if here and task is not None and task.kind == "segment" and not self.struck:
            self.struck = True
            (pid,) = [one.pid for one in self.workers() if one.id == worker]
            self.cluster.remove_node(doomed, allow_graceful=False)
            until(lambda: not Path(f"/proc/{pid}").exists())  # it could be done before it notices
        return task


def visible_gpus(pid: int | None) -> str:
    """Return which GPUs a worker sees; "": it has ended."""
    try:
        words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    except OSError:
        return ""
    return dict(word.split("=", 1) for word in words if "=" in word).get("CUDA_VISIBLE_DEVICES", "")


def run(driver: ClusterDriver) -> None:
    with driver:
        driver.run()


def clips(folder: Path) -> tuple[list[NewJob], list[bytes]]:
    jobs, wanted = [], []
    for number in range(2):
        source = make_clip(folder / f"{number}.mkv", times=60, options={"g": "12", "bf": "2"}, sound=True)
        vidsr.run(vidsr.Job(source=source, output=folder / f"wanted{number}.mkv", **COMMON))
        wanted.append((folder / f"wanted{number}.mkv").read_bytes())
        job = vidsr.Job(source=source, output=folder / "out" / f"{number}.mkv", **COMMON)
        jobs.append(NewJob(key=str(job.output), name=source.name, job=job, fingerprint={}))
    return jobs, wanted


@pytest.mark.parametrize("killed", [False, True])
def test_same_bytes_as_one_run(
    tmp_path: Path,
    cluster: Any,
    killed: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._common.usage import usage_lib

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    jobs, wanted = clips(tmp_path)
    places: dict[str, str] = {}
    gpus: set[str] = set()
    with DeadlyStore.open(tmp_path / "state", create=True) as store:
        store.add(jobs)
        how = {"address": cluster.address, "gpus_per_worker": 0.5}
        with ClusterDriver(store, tmp_path / "state", TWO, **how) as driver:
            assert not usage_lib.usage_stats_enabled()
            store.driver, store.cluster = driver, cluster if killed else None

            def look() -> None:
                places.update(driver.places)
                gpus.update(visible_gpus(worker.pid) for worker in store.workers())

            driver.run(show=look)
        rows = store.jobs()
        assert [(row.state, row.error) for row in rows] == [("done", None)] * 2
        assert [row.frames for row in rows] == [60, 60]
        tries = [task.error for task in store.tasks() if task.tries]
        assert len(tries) == store.struck == killed
        assert all("died, or its node" in (error or "") for error in tries)
        assert store.workers() == ()
    assert [(tmp_path / "out" / f"{n}.mkv").read_bytes() for n in range(2)] == wanted
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.mkv", "1.mkv"]
    assert len(places) == 2  # each had one; nothing was left for a third
    assert len(set(places.values())) == 2
    assert gpus - {""} == {"0"}  # Ray has given each a part of its node's
    assert capfd.readouterr().out == ""  # where a batch's events go


@pytest.mark.timeout(400)
def test_ray_on_this_machine_alone(tmp_path: Path, ray: Any) -> None:
    jobs, wanted = clips(tmp_path)
    (tmp_path / "home").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment["HOME"] = str(tmp_path / "home")
    command = [sys.executable, "-c", DRIVE, str(tmp_path / "state"), "local"]
    with Store.open(tmp_path / "state", create=True, network=False) as store:
        store.add(jobs)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
        assert [(row.state, row.tries) for row in store.jobs()] == [("done", 0)] * 2
    assert [(tmp_path / "out" / f"{n}.mkv").read_bytes() for n in range(2)] == wanted
    assert not list((tmp_path / "home").iterdir())  # Ray would leave a token there
    assert not list(Path(os.environ["RAY_TMPDIR"]).glob("vidsr-ray-*"))


def test_interrupted_it_gives_back(tmp_path: Path, cluster: Any) -> None:
    # Long enough that somebody holds a segment whenever it is looked at.
    source = make_clip(tmp_path / "long.mkv", times=3000, options={"g": "12"})
    job = vidsr.Job(source=source, output=tmp_path / "long_2x.mkv", **COMMON)
    jobs = [NewJob(key="long", name="long", job=job, fingerprint={})]
    with Store.open(tmp_path / "state", create=True) as store:
        store.add(jobs)

        def stop_soon() -> None:
            if any(task.kind == "segment" for task in store.tasks(state="leased")):
                raise KeyboardInterrupt

        with (
            pytest.raises(KeyboardInterrupt),
            ClusterDriver(store, tmp_path / "state", TWO, address=cluster.address) as driver,
        ):
            driver.run(more=lambda: bool(stop_soon()))
        assert store.tasks(state="leased") == ()
        assert store.workers() == ()
        assert not any(job.tries for job in store.jobs())


def test_other_versions_and_no_cluster_are_refused(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, _ = clips(tmp_path)
    monkeypatch.setattr("vidsr.batch.cluster.own_version", lambda: "0.0.1")
    with Store.open(tmp_path / "state", create=True) as store:
        store.add(jobs)
        driver = ClusterDriver(store, tmp_path / "state", TWO, address=cluster.address)
        with pytest.raises(OptionsError, match=r"^node .+ has vidsr .+, the driver has vidsr 0\.0\.1; "):
            run(driver)
        nobody = ClusterDriver(store, tmp_path / "state", TWO, address="127.0.0.1:1")
        with (
            pytest.raises(BackendUnavailableError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"),
            nobody,
        ):
            pass


def test_no_room_is_told(tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidsr.batch.cluster._ROOM_SECONDS", 2.0)
    source = make_clip(tmp_path / "0.mkv", times=12)
    job = vidsr.Job(source=source, output=tmp_path / "out.mkv", **COMMON)
    with Store.open(tmp_path / "state", create=True) as store:
        store.add([NewJob(key="0", name="0", job=job, fingerprint={})])
        driver = ClusterDriver(store, tmp_path, TWO, address=cluster.address, gpus_per_worker=4)
        with pytest.raises(BackendError, match="no room for a worker"), driver:
            driver.run()


DRIVE = """
import sys
from pathlib import Path
from vidsr.batch.cluster import ClusterDriver
from vidsr.batch.driver import DriverOptions
from vidsr.batch.store import Store

state = Path(sys.argv[1])
options = DriverOptions(workers=2, threads=1, lease_seconds=600)
with Store.open(state, create=False) as store, ClusterDriver(store, state, options, address=sys.argv[2]) as d:
    d.run()
"""


@pytest.mark.timeout(700)
def test_workers_end_with_their_driver_and_another_goes_on(tmp_path: Path, cluster: Any) -> None:
    jobs, wanted = clips(tmp_path)
    command = [sys.executable, "-c", DRIVE, str(tmp_path / "state"), cluster.address]
    with Store.open(tmp_path / "state", create=True, network=False) as store:
        store.add(jobs)
        with subprocess.Popen(command) as process:
            try:
                until(
                    lambda: any(task.kind == "segment" for task in store.tasks(state="leased")), seconds=120
                )
            finally:
                process.kill()
        pids = [worker.pid for worker in store.workers()]
        assert pids
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        subprocess.run(command, check=True, timeout=240)  # a lease would hold longer
        assert [(row.state, row.tries) for row in store.jobs()] == [("done", 0)] * 2
    assert [(tmp_path / "out" / f"{n}.mkv").read_bytes() for n in range(2)] == wanted
