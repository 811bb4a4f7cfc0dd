"""What results are called: ``"{folder}/2x/{stem}_{target}{suffix}"`` and the like.

| field | is |
|---|---|
| folder | the source's folder |
| root | the folder that was named, or the fixed part of the glob |
| subfolder | from root to folder; nothing where they are the same |
| name | the source's name: ``clip.avi`` |
| stem | without its suffix: ``clip`` |
| target | ``2x``, ``1920x1080`` |
| model | as it was asked for: ``auto``, a name, an ONNX file's stem |
| codec | as it was asked for: ``auto``, ``libx265`` |
| suffix | ``.mp4``, ``.mkv``, ``.mov`` or a picture's: what vidsr chooses for this source; only at the end |

What is not absolute is relative to the manifest's folder, or the current one. Two braces are one. A folder
that comes out empty is left out. What comes from names is taken as it is, with these exceptions: it never
makes a part of a path ``.`` or ``..``, it never makes a picture's name a pattern, and names that would be
longer than file systems take are cut, with a digest of the whole.

Which container suits a source, and what ``--size x1080`` comes to, is known when the source is looked at.
Until then there is a `PendingName`.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from vidsr.batch.finding import PICTURE_SUFFIXES, absolute
from vidsr.batch.inputs import BatchSource
from vidsr.errors import OptionsError
from vidsr.job import NULL_OUTPUT, Job, parse_size
from vidsr.sources import is_pattern, is_sequence, named_after
from vidsr.target import scale_label

__all__ = ["CHOSEN_SUFFIXES", "FIELDS", "PendingName", "anchor", "check_template", "in_folder", "resolve"]

FIELDS = ("folder", "root", "subfolder", "name", "stem", "target", "model", "codec", "suffix")
"""What a template can hold."""

_VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov"})  # see `vidsr.video.carrying.choose_suffix`
# Pictures of these never move, and keep their suffix; so a photo and a clip of one name get along.
_ALWAYS_STILL = frozenset({".bmp", ".jpeg", ".jpg", ".tif", ".tiff"})
CHOSEN_SUFFIXES = _VIDEO_SUFFIXES | PICTURE_SUFFIXES
"""All that a pending suffix can become."""

_FOLDERS = ("folder", "root", "subfolder")
_DEFAULT = "{folder}/{stem}_{target}{suffix}"  # as `vidsr.planning.default_output` has it
_DEFAULT_SEQUENCE = "{folder}/{target}_{stem}{suffix}"
_LABEL = "\0"  # stands for a size that is not known yet; no name holds it
_LONGEST_NAME = 255  # bytes of a file name, on most file systems
_RESERVED = 16  # of these, where they are pending: for .jpeg, and for 65536x65536
_DIGEST = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class PendingName:
    """A result's name whose end, and perhaps size, is known when the source is looked at."""

    text: str
    """The absolute path without its suffix; a NUL stands for the size."""
    size: str | None = None
    """What was asked for, such as ``x1080``, where the size is not known."""
    suffixes: frozenset[str] = CHOSEN_SUFFIXES
    """What can become of it."""
    sequence: bool = False
    """Whether a pattern in the name is meant as one."""

    @property
    def path(self) -> Path:
        """The path without its suffix, the size as it was asked for; for comparing and showing."""
        return Path(self.text.replace(_LABEL, self.size or ""))

    def with_suffix(self, suffix: str, label: str | None = None) -> Path:
        """Return the whole name.

        Args:
            suffix: ``.mkv``.
            label: `vidsr.target.Target.label`; needed where `size` is not None.

        Raises:
            ValueError: `label` is needed and missing.
        """
        if self.size is not None and label is None:
            raise ValueError(f"what a size of {self.size} comes to is not known yet")
        path = Path(self.text.replace(_LABEL, label or "") + suffix)
        return path if self.sequence else _no_pattern(path)


def in_folder(folder: Path) -> str:
    """Return the template of ``--output-dir``: sub-folders are kept below `folder`."""
    text = str(absolute(folder)).replace("{", "{{").replace("}", "}}")
    return text + "/{subfolder}/{stem}_{target}{suffix}"


def check_template(template: str) -> None:
    """Refuse a template that cannot be right.

    Raises:
        OptionsError: An unknown field, a brace too many, or no file's name at its end.
    """
    known = f"known fields: {', '.join(f'{{{name}}}' for name in FIELDS)}; a brace itself is written twice"
    if template == str(NULL_OUTPUT):
        return
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise OptionsError(f"the output template '{template}' is wrong ({error})", hint=known) from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in FIELDS or form or conversion):
            told = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise OptionsError(f"the output template '{template}' has an unknown field '{told}'", hint=known)
    if "\0" in template:
        raise OptionsError("an output template cannot hold a NUL", hint=known)
    places = [i for i, (_, name, _, _) in enumerate(parts) if name == "suffix"]
    if places not in ([], [len(parts) - 1]):
        raise OptionsError(f"{{suffix}} must come last, and once, in '{template}'", hint=known)
    if not re.search(r"([^/](\{suffix\}|\.[^./{}]+)|\{name\})\Z", template):
        raise OptionsError(
            f"the output template '{template}' names no file, or no container",
            hint="end it with {suffix}, or with .mp4, .mkv, .mov, .webm or a picture's suffix;"
            " --output-dir takes a folder",
        )


def resolve(
    template: str | None, source: BatchSource, job: Job, *, base: Path | None = None
) -> Path | PendingName:
    """Return the absolute path of a result, or what is known of it; `NULL_OUTPUT` as it is.

    Args:
        template: None: beside the source, as a job without an output has it.
        source: Where the source came from.
        job: With all options; its own output is not looked at.
        base: What a relative template is relative to; None: the current folder.

    Raises:
        OptionsError: As `check_template`.
    """
    sequence = is_sequence(source.source)
    if template is None:
        template = _DEFAULT_SEQUENCE if sequence else _DEFAULT
    check_template(template)
    if template == str(NULL_OUTPUT):
        return NULL_OUTPUT
    parts = [(text, name) for text, name, _, _ in Formatter().parse(template)]
    values, size = _values(source, job)
    pending = parts[-1][1] == "suffix"
    path = _join(parts, values, absolute(base or Path()), reserved=_RESERVED if pending else 0)
    unknown = size is not None and _LABEL in str(path)
    if pending:
        asked = size if unknown else None
        return PendingName(str(path), asked, _suffixes(named_after(source.source)), sequence)
    if unknown:
        raise OptionsError(
            f"what --size {size} comes to is known only with the source",
            hint=f"end the template '{template}' with {{suffix}}, or leave {{target}} out",
        )
    return path if sequence or _is_literal_pattern(parts) else _no_pattern(path)


def anchor(template: str | None, source: BatchSource, *, base: Path | None = None) -> Path:
    """Return the folder that all results of a template are below, whatever sources there will be.

    Args:
        template: As for `resolve`, and checked.
        source: Where the source came from.
        base: As for `resolve`.
    """
    if template is None or template.startswith(("{folder}", "{root}")):
        return source.root
    first = next(iter(Formatter().parse(template)))[0]
    return absolute((base or Path()) / first[: first.rfind("/") + 1])


def _suffixes(source: Path) -> frozenset[str]:
    """Return what `vidsr.planning` can choose for a source of this name."""
    own = source.suffix.lower()
    if own in _ALWAYS_STILL:
        return frozenset({own})
    return _VIDEO_SUFFIXES | {".png"} | ({own} & PICTURE_SUFFIXES)


def _values(source: BatchSource, job: Job) -> tuple[dict[str, str], str | None]:
    """Return what each field is, and the size that was asked for where it is not known what it comes to."""
    path = absolute(named_after(source.source))
    size = None
    if job.size is None:
        assert job.scale is not None  # a Job has one of the two
        target = scale_label(job.scale)
    elif None in parse_size(job.size):
        size, target = job.size.lower(), _LABEL
    else:
        width, height = parse_size(job.size)
        target = f"{width}x{height}"
    model = Path(job.model).stem if job.model.lower().endswith(".onnx") else job.model
    subfolder = "" if source.subfolder == Path() else str(source.subfolder)
    values = {
        "folder": str(path.parent),
        "root": str(source.root),
        "subfolder": subfolder,
        "name": path.name,
        "stem": path.stem,
        "target": target,
        "model": model.replace("/", "_"),
        "codec": job.codec.replace("/", "_"),
        "suffix": "",
    }
    return values, size


def _join(parts: list[tuple[str, str | None]], values: dict[str, str], base: Path, *, reserved: int) -> Path:
    """Return the path that a template makes of `values`, part by part."""
    doubled = _is_literal_pattern(parts)
    made: list[list[tuple[str, bool]]] = [[]]  # of each part of the path: text, and whether it may be cut
    for text, name in parts:
        pieces = [(text, False)]
        if name is not None:
            value = values[name]
            pieces.append((value.replace("%", "%%") if doubled and name not in _FOLDERS else value, True))
        for piece, cut in pieces:
            first, *more = piece.split("/")
            made[-1].append((first, cut))
            made += [[(one, cut)] for one in more]
    rooted = parts[0][0].startswith("/") or (not parts[0][0] and parts[0][1] in ("folder", "root"))
    *folders, last = made
    names = [*(_part(one, 0) for one in folders), _part(last, reserved)]
    return _straight(Path("/" if rooted else base), [name for name in names if name])


def _straight(start: Path, names: list[str]) -> Path:
    """Join without ``..``, which only a template itself can hold."""
    up = len(names) - names[::-1].index("..") if ".." in names else 0
    before = str(start.joinpath(*names[:up]))
    # Only the file system knows where .. leads to behind a link, if the folders' names are known at all.
    clean = os.path.normpath(before) if _LABEL in before else os.path.realpath(before)
    return Path(clean if up else start, *names[up:])


def _part(pieces: list[tuple[str, bool]], reserved: int) -> str:
    """Return one part of a path, with room for `reserved` more bytes."""
    text = "".join(piece for piece, _ in pieces)
    if text in (".", "..") and text != "".join(piece for piece, value in pieces if not value):
        return text.replace(".", "_")
    excess = len(os.fsencode(text)) + reserved - _LONGEST_NAME
    longest = max((piece for piece, cut in pieces if cut), key=lambda p: len(os.fsencode(p)), default="")
    if excess <= 0 or len(os.fsencode(longest)) < excess + _DIGEST + 1:
        return text  # or what the user wrote is too long, and the file system will say so
    coded = os.fsencode(longest)
    digest = hashlib.sha256(coded).hexdigest()[:_DIGEST]
    short = f"{coded[: len(coded) - excess - _DIGEST - 1].decode(errors='ignore')}~{digest}"
    index = pieces.index((longest, True))
    return "".join(short if i == index else piece for i, (piece, _) in enumerate(pieces))


def _is_literal_pattern(parts: list[tuple[str, str | None]]) -> bool:
    """Return whether the user wrote a pattern into the last part of a template."""
    stand_ins = ["" if name is None else "/" if name in _FOLDERS else "x" for _, name in parts]
    texts = [literal for literal, _ in parts]
    return is_pattern(Path("".join(map("".join, zip(texts, stand_ins, strict=True)))))


def _no_pattern(path: Path) -> Path:
    """Return a name that numbers no pictures; as `vidsr.planning.default_output` does."""
    if path.suffix.lower() in PICTURE_SUFFIXES and is_pattern(path):
        return path.with_name(path.name.replace("%", "_"))
    return path
