"""The networks by name: how each is built for training, read from a checkpoint and written as a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from vidsr.networks.ecbsr import ECBSR, PlainECBSR, write_ecbsr
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
        "ecbsr", "ECBSR", ECBSR, PlainECBSR, PlainECBSR.from_state_dict, write_ecbsr, ("m", "c")
    ),
    "rfdn": Architecture("rfdn", "RFDN", RFDN, RFDN, RFDN.from_state_dict, write_rfdn, ("b", "f"), 15),
    "imdn": Architecture("imdn", "IMDN", IMDN, IMDN, IMDN.from_state_dict, write_imdn, ("b", "f")),
    "imdn-rtc": Architecture(
        "imdn", "IMDN_RTC", IMDNRTC, IMDNRTC, IMDNRTC.from_state_dict, write_rtc, ("rtc-b", "f")
    ),
    "imdn-as": Architecture(
        "imdn", "IMDN_AS", IMDNAS, IMDNAS, IMDNAS.from_state_dict, write_as, ("as-b", "f"), 4, "target"
    ),
}
"""By the name that recipes use."""


def architecture_of(network: nn.Module) -> Architecture:
    """Return what `network` is an instance of."""
    for one in ARCHITECTURES.values():
        if isinstance(network, one.plain) or type(network) is one.build:
            return one
    raise TypeError(f"{type(network).__name__} is none of {', '.join(ARCHITECTURES)}")
