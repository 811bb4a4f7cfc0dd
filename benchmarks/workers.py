"""One worker of a batch against two, each with its share of the cores, and what ``--workers auto`` takes.

    python benchmarks/workers.py CLIP [--rounds 3]

Prints a Markdown table. Rounds of one and two workers alternate; of each the fastest counts, because whatever
else the machine does only ever makes one slower.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import vidsr
from vidsr.batch.driver import Driver, DriverOptions
from vidsr.batch.rows import NewJob
from vidsr.batch.store import Store
from vidsr.batch.trials import rate_of
from vidsr.batch.tuning import fastest, threads_of

JOBS = 2


def rate(clip: Path, options: dict[str, str], workers: int) -> float:
    """Return the frames a second of a real batch, from the first segment to the last result."""
    folder = Path(tempfile.mkdtemp(prefix="vidsr-workers-"))
    try:
        jobs = [
            vidsr.Job(source=clip, output=folder / f"{n}.mkv", segment_frames=60, **options)
            for n in range(JOBS)
        ]
        with Store.open(folder / "state", create=True) as store:
            store.add(
                [NewJob(key=str(n), name=clip.name, job=job, fingerprint={}) for n, job in enumerate(jobs)]
            )
            with Driver(store, folder / "state", DriverOptions(workers=workers)) as driver:
                driver.run()
            rows = store.jobs()
        assert all(row.state == "done" for row in rows), [row.error for row in rows]
        begun = min(row.began or 0 for row in rows)
        return sum(row.frames or 0 for row in rows) / (max(row.ended or 0 for row in rows) - begun)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print("| clip | model, preset | 1 worker, fps | 2 workers, fps | ratio | trial: 1, 2 | auto takes |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for model in ("2x-ecbsr-m4c8", "2x-ecbsr-m4c16"):
        for preset in ("medium", "veryfast"):
            options = {"model": model, "preset": preset}
            best = {1: 0.0, 2: 0.0}
            trial = {1: 0.0, 2: 0.0}
            job = vidsr.Job(source=given.clip, output=Path("x.mkv"), **options)
            for _ in range(given.rounds):
                for workers in best:
                    best[workers] = max(best[workers], rate(given.clip, options, workers))
                    again = rate_of(job, workers, threads_of(job, workers))
                    trial[workers] = max(trial[workers], again)
            cells = [given.clip.stem, f"{model[3:]}, {preset}", *(f"{fps:.1f}" for fps in best.values())]
            cells += [f"{best[2] / best[1]:.2f}", f"{trial[1]:.1f}, {trial[2]:.1f}", str(fastest(trial))]
            print(f"| {' | '.join(cells)} |", flush=True)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
