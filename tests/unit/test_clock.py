"""The arithmetic of time: whatever the time base, the offset and the order."""

from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from vidsr.video.clock import Clock, SharedClock

BASES = st.builds(Fraction, st.integers(1, 1001), st.integers(1, 120_000))
OFFSETS = st.integers(-(1 << 40), 1 << 40)


@dataclass
class Sent:
    """As much of a packet, or a frame, as a clock looks at."""

    pts: int | None
    dts: int | None = None
    duration: int = 0
    is_discard: bool = False


def through(clock: Clock, packets: list[Sent], shown: list[int | None]) -> list[tuple[int | None, int]]:
    """Send packets, then take frames with these times out; a decoder that holds everything back."""
    for packet in packets:
        clock.sent(packet)  # type: ignore[arg-type]
    return [clock.of(Sent(pts)) for pts in shown]  # type: ignore[arg-type]


@given(
    base=BASES,
    offset=OFFSETS,
    steps=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    depth=st.integers(0, 4),
)
def test_times_that_run_on_are_left_alone(base: Fraction, offset: int, steps: list[int], depth: int) -> None:
    times = [offset + sum(steps[:n]) for n in range(len(steps) + 1)]
    # Decoding times lie `depth` frames ahead, as with B-frames.
    lead = [times[0] - depth + n for n in range(depth)]
    packets = [Sent(t, d) for t, d in zip(times, lead + times, strict=False)]
    clock = Clock("matroska,webm", base, None)
    assert through(clock, packets, list(times)) == [(t, 0) for t in times]
    assert clock.jumps == []


@given(
    offset=OFFSETS,
    back=st.integers(100_000, 1 << 40),
    first=st.integers(2, 20),
    second=st.integers(2, 20),
    step=st.integers(1, 4000),
)
def test_a_leap_back_becomes_one_step(offset: int, back: int, first: int, second: int, step: int) -> None:
    """Of 90 kHz; more than one second and more than twenty frames of 25 a second."""
    ahead = [offset + n * step for n in range(first)]
    behind = [ahead[-1] - back + n * step for n in range(second)]
    clock = Clock("mpegts", Fraction(1, 90_000), Fraction(25))
    packets = [Sent(t, t, step) for t in ahead + behind]
    found = through(clock, packets, ahead + behind)
    assert [pts for pts, _ in found] == [offset + n * step for n in range(first + second)]
    assert [shift for _, shift in found] == [0] * first + [back + step] * second
    assert [(jump.pts, jump.by) for jump in clock.jumps] == [(offset + first * step, -back - step)]


@given(gap=st.integers(1, 1 << 33))
def test_a_leap_ahead_is_another_clock_only_in_recordings(gap: int) -> None:
    times = [0, 3600, 3600 + gap]
    packets = [Sent(t, t, 3600) for t in times]
    leaps = gap - 3600 > 10 * 90_000
    for container, jumps in (("mpegts", leaps), ("mov,mp4", False), ("matroska,webm", False)):
        clock = Clock(container, Fraction(1, 90_000), Fraction(25))
        found = through(clock, packets, list(times))
        assert found[2] == ((7200, 3600 - gap) if jumps else (times[2], 0))


@given(order=st.permutations(range(24)), base=BASES, offset=OFFSETS)
def test_avi_gives_the_earliest_time_that_is_left(order: list[int], base: Fraction, offset: int) -> None:
    packets = [Sent(offset + n, offset + n) for n in range(24)]
    found = through(Clock("avi", base, None), packets, [offset + n for n in order])
    assert [pts for pts, _ in found] == [offset + n for n in range(24)]


@given(times=st.lists(st.integers(0, 1000), min_size=2, max_size=30, unique=True), data=st.data())
def test_what_never_came_out_is_found(times: list[int], data: st.DataObject) -> None:
    times.sort()
    kept = data.draw(st.sets(st.sampled_from(times)))
    clock = Clock("matroska,webm", Fraction(1, 1000), None)
    for n, time in enumerate(times):
        clock.sent(Sent(time, n))  # type: ignore[arg-type]
    gone = []
    for time in sorted(kept):
        clock.of(Sent(time))  # type: ignore[arg-type]
        gone += clock.passed(time)
    assert gone + clock.passed(None) == [t for t in times if t not in kept]


@given(
    unit=st.sampled_from([Fraction(1, 90_000), Fraction(1, 48_000), Fraction(1, 1000)]),
    length=st.integers(1, 100),
    leap=st.integers(-100_000, 100_000).filter(lambda s: abs(s) > 30),
    pieces=st.tuples(st.integers(2, 12), st.integers(2, 12)),
)
def test_sound_moves_with_the_picture(
    unit: Fraction, length: int, leap: int, pieces: tuple[int, int]
) -> None:
    """Two pieces, each packet of `length` ms; the picture's clock leapt by `leap` seconds between them."""
    ticks = max(1, round(Fraction(length, 1000) / unit))
    first = [n * ticks for n in range(pieces[0])]
    begin = round((first[-1] + ticks) * unit) + leap
    second = [round(begin / unit) + n * ticks for n in range(pieces[1])]
    shifts = (Fraction(0), -Fraction(leap))
    clock = SharedClock(shifts)
    stream = SimpleNamespace(index=1)
    found = [
        clock.shift(SimpleNamespace(stream=stream, pts=t, dts=t, duration=ticks, time_base=unit))
        for t in first + second
    ]
    assert found == [shifts[0]] * len(first) + [shifts[1]] * len(second)


@given(wild=st.integers(1_000_000, 1 << 40), place=st.integers(1, 18), sign=st.sampled_from([-1, 1]))
def test_a_presentation_time_that_cannot_be(wild: int, place: int, sign: int) -> None:
    """A flipped bit in one of 20 packets at 90 kHz: its decoding time says where it belongs."""
    times = [n * 3600 for n in range(20)]
    told = [t + sign * wild * (n == place) for n, t in enumerate(times)]
    clock = Clock("mpegts", Fraction(1, 90_000), Fraction(25))
    packets = [Sent(pts, dts, 3600) for pts, dts in zip(told, times, strict=True)]
    assert [pts for pts, _ in through(clock, packets, list(told))] == times
    assert clock.impossible == 1


def test_a_frame_of_a_time_that_no_packet_had() -> None:
    """Given out of turn, a wild time that was already passed over is none; where nothing is wild it stays."""
    clock = Clock("mpegts", Fraction(1, 90_000), Fraction(25))
    for number in range(20):
        clock.sent(Sent(number * 3600, number * 3600, 3600))  # type: ignore[arg-type]
    clock.passed(None)
    assert clock.of(Sent((1 << 32) + 14032)) == (None, 0)  # type: ignore[arg-type]
    assert clock.of(Sent(70_000)) == (70_000, 0)  # type: ignore[arg-type]
