"""A process that works on a batch, for tests: FOLDER LOG WORKER LEASE_S local|network [STATEMENTS].

It makes FOLDER/ready.WORKER and begins once there is FOLDER/go. It writes a line for each task before it ends
it, and "lost" where that was too late. With STATEMENTS it is killed as by ``kill -9`` before SQLite runs that
many statements, wherever in a transaction that is.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path

from plans import parts

from vidsr.batch.rows import LeaseLostError, Task
from vidsr.batch.store import Store

SEGMENTS = 8
TASKS = SEGMENTS + 2
"""Of a job: its plan and its join too."""
_MANY = 10_000  # tries: here no job may fail, however often its workers are killed


def main() -> None:
    folder, log, worker, lease = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Store.open(folder, create=False, network=sys.argv[5] == "network") as store:
        if len(sys.argv) > 6:
            counter = itertools.count()
            last = int(sys.argv[6])

            def count(_: str) -> None:
                if next(counter) == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            store._database._connection.set_trace_callback(count)
        (folder / f"ready.{worker}").touch()
        while not (folder / "go").exists():
            time.sleep(0.005)
        while store.open_tasks():
            task = store.claim(worker, host="here", seconds=lease, room=None, max_tries=_MANY)
            if task is None:
                time.sleep(min(0.02, store.next_due() or 0.02))
                continue
            os.write(number, f"{task.key} {task.kind} {task.number} {worker}\n".encode())
            time.sleep(0.002)  # the work; without any, one process never lets the others have the file
            try:
                _end(store, task, worker)
            except LeaseLostError:
                os.write(number, b"lost\n")
    os.close(number)


def _end(store: Store, task: Task, worker: str) -> None:
    if task.kind == "plan":
        store.planned(task.id, worker, parts(SEGMENTS), frames=10 * SEGMENTS, output=task.key, memory=1)
    elif task.kind == "segment":
        store.progress(task.id, worker, 5)
        store.renew([task.id], worker, float(sys.argv[4]))
        store.finished(task.id, worker, 10)
    else:
        store.joined(task.id, worker, {"by": worker})


if __name__ == "__main__":
    main()
