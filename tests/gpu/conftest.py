"""What is different for tests on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from leftovers import watched


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a file or a temporary file behind; CUDA's driver keeps pipes open."""
    with watched(request.node.name, pipes=False):
        yield
