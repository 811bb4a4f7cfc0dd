"""Any time base, any offset: from a source's times to the written file's."""

import tempfile
from fractions import Fraction
from pathlib import Path

from describe import describe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synth import make_clip

import vidsr

BASES = st.builds(Fraction, st.integers(1, 1001), st.integers(24, 90_000)).filter(lambda b: b * 10 <= 1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    base=BASES,
    offset=st.integers(0, 1 << 20),
    steps=st.lists(st.integers(1, 400), min_size=1, max_size=7),
    segment=st.integers(1, 4),
    suffix=st.sampled_from([".mp4", ".mkv"]),
)
def test_times_arrive(base: Fraction, offset: int, steps: list[int], segment: int, suffix: str) -> None:
    stamps = [offset + sum(steps[:n]) for n in range(len(steps) + 1)]
    with tempfile.TemporaryDirectory() as name:
        # NUT keeps any time base.
        source = make_clip(Path(name) / "in.nut", times=stamps, time_base=base, codec="ffv1", size=(16, 16))
        before = describe(source).times
        assert [t - before[0] for t in before] == [(s - stamps[0]) * base for s in stamps]
        output = Path(name) / f"out{suffix}"
        options = {"backend": "nearest", "preset": "ultrafast", "segment_frames": segment}
        vidsr.run(vidsr.Job(source=source, output=output, **options))
        after = describe(output).times
    allowed = Fraction(0) if suffix == ".mp4" else Fraction(1, 1000)
    error = max(abs((b - after[0]) - (a - before[0])) for a, b in zip(before, after, strict=True))
    assert error <= allowed
