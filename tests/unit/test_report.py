"""What was done in parts, added up."""

from __future__ import annotations

from vidsr.report import StageTimes, Work


def test_work_adds_up() -> None:
    one = (StageTimes("decode", 1.0, 2.0, 3.0, 4.0), StageTimes("encode", 0.5, 0.0, 0.0, 4.0))
    whole = Work()
    whole.add(Work(3, one, ("a",), "off"))
    assert whole.stages == one
    whole.add(Work(0, (), ("b",)))
    assert (whole.frames, whole.stages, whole.warnings, whole.deinterlaced) == (3, one, ("a", "b"), "off")
    whole.add(Work(2, one))
    assert whole.frames == 5
    assert whole.stages[0] == StageTimes("decode", 2.0, 4.0, 6.0, 8.0)
    assert whole.stages[1] == StageTimes("encode", 1.0, 0.0, 0.0, 8.0)
