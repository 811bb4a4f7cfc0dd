"""Dataclasses from TOML and back."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsr import records
from vidsr.errors import OptionsError, TrainingError


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["luma", "rgb", 3] = "luma"
    ratio: float = 1.5
    rate: Fraction = Fraction(24)
    loud: bool = False
    note: str | None = None
    pair: tuple[int, int] = (1, 2)
    inners: tuple[Inner, ...] = ()
    table: dict[str, Inner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("name must not be bad")


def test_reads_every_kind_of_field(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        """
        name = "é"
        kind = 3
        ratio = 2
        rate = "30000/1001"
        loud = true
        note = "n"
        pair = [3, 4]
        inners = [{ size = 1 }, { size = 2, files = { f32 = "a/b.onnx" } }]
        table.x.size = 5
        """,
        encoding="utf-8",
    )
    assert records.load(Outer, path, error=OptionsError) == Outer(
        name="é",
        kind=3,
        ratio=2.0,
        rate=Fraction(30000, 1001),
        loud=True,
        note="n",
        pair=(3, 4),
        inners=(Inner(size=1), Inner(size=2, files={"f32": Path("a/b.onnx")})),
        table={"x": Inner(size=5)},
    )


def test_a_whole_number_becomes_a_float_in_a_float_field() -> None:
    assert type(records.from_mapping(Outer, {"name": "a", "ratio": 2}).ratio) is float


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "the key 'name' is missing"),
        ({"name": "a", "raito": 1}, "unknown key 'raito'; did you mean 'ratio'"),
        ({"name": "a", "zzz": 1}, "unknown key 'zzz'; known: name, kind"),
        ({"name": 1}, "'name' must be text, not 1"),
        ({"name": "a", "kind": "yuv"}, "'kind' must be 'luma' or 'rgb' or 3, not 'yuv'"),
        ({"name": "a", "ratio": "2"}, "'ratio' must be a number, not '2'"),
        ({"name": "a", "ratio": True}, "'ratio' must be a number, not True"),
        ({"name": "a", "loud": 1}, "'loud' must be true or false, not 1"),
        ({"name": "a", "rate": "1/0"}, "'rate' cannot be '1/0'"),
        ({"name": "a", "pair": [1]}, "'pair' must be tuple, not"),
        ({"name": "a", "pair": [1, "2"]}, r"'pair\[1\]' must be a whole number, not '2'"),
        ({"name": "a", "inners": [{"size": True}]}, r"'inners\[0\]\.size' must be a whole number, not True"),
        ({"name": "a", "table": {"x": {"sise": 1}}}, "'table.x.sise'; did you mean 'size'"),
        ({"name": "a", "inners": {"size": 1}}, "'inners' must be tuple"),
        ({"name": "bad"}, "name must not be bad"),
    ],
)
def test_says_what_is_wrong_and_where(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        records.from_mapping(Outer, data)


@pytest.mark.parametrize("content", [None, b"name = ", b"\xff\xfe", b"name = 3"])
def test_file_errors_carry_the_path_and_the_wanted_type(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError) as caught:
        records.load(Outer, path, error=TrainingError)
    assert caught.value.path == str(path)


def test_none_is_left_out() -> None:
    assert "note" not in records.dump(Outer(name="a"))
    assert records.to_mapping(Outer(name="a", note=""))["note"] == ""


text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
inners = st.builds(
    Inner, size=st.integers(-(2**63), 2**63 - 1), files=st.dictionaries(text, st.just(Path("a")), max_size=2)
)


@given(
    st.builds(
        Outer,
        name=text.filter(lambda name: name != "bad"),
        kind=st.sampled_from(["luma", "rgb", 3]),
        ratio=st.floats(allow_nan=False),
        rate=st.fractions(),
        loud=st.booleans(),
        note=st.none() | text,
        pair=st.tuples(st.integers(0, 9), st.integers(0, 9)),
        inners=st.lists(inners, max_size=2).map(tuple),
        table=st.dictionaries(text, inners, max_size=2),
    )
)
def test_what_was_dumped_is_read_back(record: Outer) -> None:
    assert records.from_mapping(Outer, tomllib.loads(records.dump(record))) == record
