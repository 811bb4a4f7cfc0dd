"""The networks by name: how each is built for training, read from a checkpoint and written as a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from vidsr.networks.ecbsr import ECBSR, PlainECBSR, write_ecbsr
from vidsr.networks.ecbsr_read import read_ecbsr
from vidsr.networks.graph import NetworkGraph
from vidsr.networks.imdn import IMDN, IMDNRTC, write_imdn, write_rtc
from vidsr.networks.imdn_as import IMDNAS, write_as
from vidsr.networks.rfdn import RFDN, write_rfdn

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network. All have the attributes `scale`, `channels` and `sizes` (blocks, features)."""

    family: str
    """What ``--model`` calls it; the networks of one paper share it."""
    title: str
    """What its authors call it."""
    build: Callable[..., nn.Module]
    """From scale, channels, blocks and features, by keyword, to fresh weights."""
    plain: type[nn.Module]
    """What `read` gives: the network as it is run."""
    read: Callable[[Mapping[str, Tensor]], nn.Module]
    """From a checkpoint's weights, with sizes taken from their shapes. Raises WeightsError."""
    write: Callable[[NetworkGraph, Any], str]
    """Write all nodes of one that was built or read."""
    mark: str
    """Regular expression for a name that only its checkpoints have: what unfit ones were meant to be."""
    published_range: tuple[Literal[1, 255], Literal[1, 255]]
    """Largest value that checkpoints under the authors' names work on: luma's, RGB's. For our own it is 1."""
    letters: tuple[str, str]
    """What stands before the numbers of blocks and of features in names: m4c16, b6f48."""
    min_size: int = 1
    """Smallest side of the input in pixels."""
    input: Literal["low", "target"] = "low"
    """What it takes, as in `vidsr.models.card.ModelSpec`."""

    def variant(self, network: Any) -> str:
        """Return the sizes of such a network as they stand in its name: "m4c16", "b6f48-rgb"."""
        first, second = self.letters
        blocks, features = network.sizes
        return f"{first}{blocks}{second}{features}" + ("-rgb" if network.channels == 3 else "")


ARCHITECTURES: dict[str, Architecture] = {
    "ecbsr": Architecture(
        family="ecbsr",
        title="ECBSR",
        build=ECBSR,
        plain=PlainECBSR,
        read=read_ecbsr,
        write=write_ecbsr,
        mark=r"backbone\.\d|kernels\.\d|body\.\d+\.(conv|edge|expand)_",
        published_range=(255, 1),  # the authors' luma; ETDS's RGB
        letters=("m", "c"),
    ),
    "rfdn": Architecture(
        family="rfdn",
        title="RFDN",
        build=RFDN,
        plain=RFDN,
        read=RFDN.from_state_dict,
        write=write_rfdn,
        mark=r"(B|blocks\.)\d+\.(esa|distil|c1_d)",
        published_range=(255, 255),
        letters=("b", "f"),
        min_size=15,
    ),
    "imdn-as": Architecture(
        family="imdn",
        title="IMDN_AS",
        build=IMDNAS,
        plain=IMDNAS,
        read=IMDNAS.from_state_dict,
        write=write_as,
        mark=r"(fea_conv|head)\.0\.weight",
        published_range=(1, 1),
        letters=("as-b", "f"),
        min_size=4,
        input="target",
    ),
    "imdn": Architecture(
        family="imdn",
        title="IMDN",
        build=IMDN,
        plain=IMDN,
        read=IMDN.from_state_dict,
        write=write_imdn,
        mark=r"IMDB\d+\.|blocks\.\d+\.attention",
        published_range=(1, 1),
        letters=("b", "f"),
    ),
    "imdn-rtc": Architecture(
        family="imdn",
        title="IMDN_RTC",
        build=IMDNRTC,
        plain=IMDNRTC,
        read=IMDNRTC.from_state_dict,
        write=write_rtc,
        mark=r"model\.1\.sub\.|blocks\.\d+\.convs\.",
        published_range=(1, 1),
        letters=("rtc-b", "f"),
    ),
}
"""By the name that recipes use."""


def architecture_of(network: nn.Module) -> Architecture:
    """Return what `network` is an instance of."""
    for one in ARCHITECTURES.values():
        if isinstance(network, one.plain) or type(network) is one.build:
            return one
    raise TypeError(f"{type(network).__name__} is none of {', '.join(ARCHITECTURES)}")
