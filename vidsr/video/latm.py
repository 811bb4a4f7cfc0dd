"""AAC as MPEG-TS broadcasts pack it (LOAS/LATM), packed as files hold it: the same coded sound, bit for bit.

ISO/IEC 14496-3: LOAS 1.7.2, AudioMuxElement and StreamMuxConfig 1.7.3, AudioSpecificConfig 1.6.2, ADTS 1.A.2.
What is made are ADTS frames; FFmpeg's muxers turn these into what their files hold.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av

from vidsr.errors import UnsupportedFormatError
from vidsr.frame import OtherStream, VideoInfo
from vidsr.video.opening import open_info

__all__ = ["LatmConverter", "add_aac", "first_frame", "unconvertible_latm"]

_LOOK = 500  # packets that may come before one with a description: about ten seconds
_SYNC = 0x2B7
_HEADER = 7  # bytes of ADTS


class LatmError(ValueError):
    """A way of packing that ADTS has no equal for."""


class DamagedError(LatmError):
    """What no decoder could use either."""


@dataclass(frozen=True, slots=True)
class Config:
    """What is said once for many frames."""

    object_type: int
    """1: Main, 2: LC, 3: SSR, 4: LTP."""
    rate_index: int
    channels: int


class _Bits:
    """Reads bits, the first one first."""

    def __init__(self, data: bytes) -> None:
        self._value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        self.left -= count
        if self.left < 0:
            raise DamagedError("a frame that ends too early")
        return self._value >> self.left & ((1 << count) - 1)

    def skip(self, count: int) -> None:
        """Pass over some bits."""
        self.take(count)

    def number(self) -> int:
        """Return a LatmGetValue()."""
        return self.take(8 * (self.take(2) + 1))


def read_frame(data: bytes, config: Config | None) -> tuple[Config | None, bytes]:
    """Return the description that holds and the coded sound of a LOAS frame; none without a description.

    Raises:
        LatmError: It is packed in a way that ADTS has no equal for.
    """
    bits = _Bits(data)
    if bits.take(11) != _SYNC:
        raise DamagedError("no frame of LOAS")
    length = bits.take(13) + 3
    if length > len(data):
        raise DamagedError("a frame that ends too early")
    if length < len(data):
        raise LatmError("several frames in a packet")
    if not bits.take(1):
        config = _read_config(bits)
    if config is None:
        return None, b""
    length = 0
    while (part := bits.take(8)) == 255:
        length += part
    length += part
    return config, bits.take(8 * length).to_bytes(length, "big")


def adts(config: Config, sound: bytes) -> bytes:
    """Return a frame of ADTS."""
    length = len(sound) + _HEADER
    if length >= 1 << 13:
        raise LatmError("a frame of more than 8 KiB")
    header = 0xFFF << 44 | 1 << 40  # MPEG-4, no checksum
    header |= (config.object_type - 1) << 38 | config.rate_index << 34 | config.channels << 30
    header |= length << 13 | 0x7FF << 2  # no statement about the buffer
    return header.to_bytes(_HEADER, "big") + sound


class LatmConverter:
    """Turns packets of LATM into ADTS."""

    def __init__(self, config: Config) -> None:
        """Take the description for frames that come before the first one that has it."""
        self._config = config

    def convert(self, packet: Any) -> tuple[Any, frozenset[str]]:
        """Return a packet of the same times, None for a damaged one; and nothing that was lost.

        Raises:
            UnsupportedFormatError: The sound changes on the way into what an AAC stream cannot say.
        """
        try:
            config, sound = read_frame(bytes(packet), self._config)
            if config != self._config:
                raise LatmError("a change of format")
            made = av.Packet(adts(self._config, sound))
        except DamagedError:
            return None, frozenset()
        except LatmError as error:
            raise UnsupportedFormatError(
                f"stream {packet.stream.index} (audio, aac_latm) cannot become aac: {error}",
                hint=f"add --drop {packet.stream.index} to leave it out",
            ) from error
        made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
        made.time_base = packet.time_base
        return made, frozenset()


def first_frame(info: VideoInfo, index: int) -> tuple[Config, bytes]:
    """Return the first description in a stream of a file, and that frame's sound.

    Raises:
        LatmError: There is none, or ADTS has no equal for it.
    """
    with open_info(info) as source:
        for number, packet in enumerate(source.demux(source.streams[index])):
            with suppress(DamagedError):
                config, sound = read_frame(bytes(packet), None)
                if config is not None:
                    return config, sound
            if number >= _LOOK:
                break
    raise LatmError("no description within its first frames")


def unconvertible_latm(info: VideoInfo, other: OtherStream) -> str:
    """Return why a stream of LATM cannot be packed otherwise; "": it can, by what its beginning says."""
    try:
        adts(*first_frame(info, other.index))
    except (LatmError, av.FFmpegError, OSError) as error:
        return str(error)
    return ""


def add_aac(out: Any, stream: Any, info: VideoInfo) -> tuple[Any, LatmConverter]:
    """Add a stream of AAC to an output container, and return what makes its packets."""
    config, sound = first_frame(info, stream.index)
    with av.open(io.BytesIO(adts(config, sound) * 4), format="aac") as sample:
        added = out.add_stream_from_template(sample.streams.audio[0], opaque=True)
    added.time_base = stream.time_base
    return added, LatmConverter(config)


def _read_config(bits: _Bits) -> Config:
    version = bits.take(1)
    if version and bits.take(1):
        raise LatmError("a version of LATM to come")
    if version:
        bits.number()  # of the buffer
    same_framing, frames, programs, layers = bits.take(1), bits.take(6), bits.take(4), bits.take(3)
    if not same_framing or frames or programs or layers:
        raise LatmError("several programs, layers or frames in one")
    length = bits.number() if version else None
    before = bits.left
    object_type, rate_index, channels = _read_audio_config(bits)
    if length is not None:
        bits.skip(length - (before - bits.left))
    if bits.take(3):
        raise LatmError("frames of constant length")
    bits.skip(8)  # of the buffer
    if bits.take(1):
        raise LatmError("data beside the sound")
    if bits.take(1):
        bits.skip(8)  # a checksum of this
    return Config(object_type, rate_index, channels)


def _read_audio_config(bits: _Bits) -> tuple[int, int, int]:
    """Return object type, index of the sampling rate and channels of an AudioSpecificConfig."""
    object_type, rate_index, channels = bits.take(5), bits.take(4), bits.take(4)
    if object_type in (5, 29):  # SBR, PS: decoders find them in the core's frames as well
        if bits.take(4) == 15:
            bits.skip(24)
        object_type = bits.take(5)
    if not 1 <= object_type <= 4:
        raise LatmError(f"audio object type {object_type}")
    if rate_index > 12:
        raise LatmError("a sampling rate that is not in the list")
    if not 1 <= channels <= 7:
        raise LatmError("channels in no usual arrangement")
    if bits.take(1):
        raise LatmError("frames of 960 samples")
    if bits.take(1):
        bits.skip(14)
    bits.skip(1)
    return object_type, rate_index, channels
