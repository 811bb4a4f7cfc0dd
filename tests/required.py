"""What a test needs and this machine may lack."""

from __future__ import annotations

import os

import pytest

__all__ = ["require"]


def require(name: str, why: str) -> None:
    """Skip the running test, or fail it where VIDSR_REQUIRE (comma separated) lists `name`.

    A machine that is there to test a part must not pass by skipping it. VIDSR_REQUIRE_GPU=1 is the same as
    listing "gpu".

    Args:
        name: The part that is absent: data, compiler, gpu, ffmpeg, ...
        why: What is absent and how to provide it, one line.
    """
    asked = os.environ.get("VIDSR_REQUIRE", "").replace(" ", "").split(",")
    if os.environ.get("VIDSR_REQUIRE_GPU", "0") not in ("", "0"):
        asked.append("gpu")
    if name in asked:
        pytest.fail(f"VIDSR_REQUIRE asks for '{name}': {why}", pytrace=False)
    pytest.skip(why)
