"""What a batch must know of a cluster's nodes: which has tried what, and whether they see the files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from vidsr.batch.rows import PlannedSegment, Task
from vidsr.batch.store import Store
from vidsr.errors import OutputError, VidsrError

__all__ = ["Tries", "plan_of_node", "told_by_node"]

_SEEN_SECONDS = 10.0  # until what one machine has made is seen by another: NFS remembers what was not there
_SEEN_STEP = 0.5
_SHARED = "sources and results must lie on storage that all nodes mount under the same path"


def told_by_node(
    node: str, error: Exception, text: str, final: bool, held: Sequence[Task]
) -> tuple[str, bool]:
    """Return a failure's text and whether it is final, as one machine of many must tell them.

    Args:
        node: Where it happened.
        error: What happened.
        text: The same, for users.
        final: Whether trying again on this machine is of no use.
        held: What the worker has.
    """
    path = error.path if isinstance(error, VidsrError) else None
    if path is not None and "://" not in path and not Path(path).exists():
        text, final = f"{text}; is it there for this node? {_SHARED}", False
    if any(task.kind != "plan" for task in held):
        final = False  # a node has accepted the job: it is this one that cannot do it
    return f"on node {node}: {text}", final


class Tries:
    """Which nodes have failed at which tasks, so that others have the next try. Threads may share it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._failed: dict[int, set[str]] = {}
        self._lock = threading.Lock()

    def failed(self, task: int, node: str) -> None:
        """Note that a node has failed at a task."""
        with self._lock:
            self._failed.setdefault(task, set()).add(node)

    def avoid(self, node: str, living: frozenset[str]) -> list[int]:
        """Return the tasks at which a node has failed, and at least one of the living has not."""
        with self._lock:
            return [task for task, failed in self._failed.items() if node in failed and living - failed]


def plan_of_node(store: Store, node: str, tries: Tries, living: Callable[[], frozenset[str]]) -> Store:
    """Return the plan as the workers of one node see it, through the driver.

    Args:
        store: The plan.
        node: Which node, whatever names it.
        tries: What has failed where.
        living: Returns the nodes on which workers are now.
    """
    return cast("Store", _PlanOfNode(store, node, tries, living))


class _PlanOfNode:
    def __init__(self, store: Store, node: str, tries: Tries, living: Callable[[], frozenset[str]]) -> None:
        self._store, self._node, self._tries, self._living = store, node, tries, living

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def claim(self, worker: str, **how: Any) -> Task | None:
        return self._store.claim(worker, **how, avoid=self._tries.avoid(self._node, self._living()))

    def failed(self, task: int, worker: str, error: str, **how: Any) -> bool:
        self._tries.failed(task, self._node)
        return self._store.failed(task, worker, error, **how)

    def planned(
        self, task: int, worker: str, segments: Sequence[PlannedSegment], *, output: str, **how: Any
    ) -> None:
        cut = any(segment.begin is not None or segment.end is not None for segment in segments)
        _must_see(Path(output), cut=cut)
        self._store.planned(task, worker, segments, output=output, **how)


def _must_see(output: Path, *, cut: bool) -> None:
    """Refuse a job whose work this machine does not see: each node would make a part where none finds it."""
    deadline = time.monotonic() + _SEEN_SECONDS
    while True:
        with suppress(OSError):
            names = [path.name for path in output.parent.iterdir()]
            if not cut or any(n.startswith(output.name[:40]) and n.endswith(".vidsr") for n in names):
                return
        if time.monotonic() > deadline:
            raise OutputError(
                "what the node has begun here is not seen by the driver", path=output, hint=_SHARED
            )
        time.sleep(_SEEN_STEP)
