"""Reading ECBSR from checkpoints: folded, or as it is trained, under our names or the authors'.

The authors' blocks are ``backbone.<i>``, with ``conv3x3``, ``conv1x1_3x3`` (k0, b0: the 1x1; k1, b1: the
3x3) and ``conv1x1_sbx``, ``_sby``, ``_lpl`` (k0, b0: the 1x1; scale, bias, mask: the edge filter).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vidsr.errors import WeightsError
from vidsr.networks.ecb import EDGE_MASKS
from vidsr.networks.ecbsr import ECBSR, PlainECBSR
from vidsr.networks.layers import load_strictly, scale_of, shape_of

__all__ = ["read_ecbsr"]

_EDGES = {"sbx": "sobel_x", "sby": "sobel_y", "lpl": "laplacian"}
_EDGE_PARTS = {"k0": "edge_weight", "b0": "edge_bias", "scale": "edge_scale", "bias": "edge_offset"}
_WIDE_PARTS = {"k0": "expand_weight", "b0": "expand_bias", "k1": "squeeze_weight", "b1": "squeeze_bias"}

_PUBLISHED: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"backbone\.(\d+)\.act\.weight"), lambda m: f"slopes.{m[1]}"),
    (re.compile(r"backbone\.(\d+)\.conv3x3\.(weight|bias)"), lambda m: f"body.{m[1]}.conv_{m[2]}"),
    (
        re.compile(r"backbone\.(\d+)\.conv1x1_3x3\.(k0|b0|k1|b1)"),
        lambda m: f"body.{m[1]}.{_WIDE_PARTS[m[2]]}",
    ),
    (
        re.compile(r"backbone\.(\d+)\.conv1x1_(sbx|sby|lpl)\.(k0|b0|scale|bias)"),
        lambda m: f"body.{m[1]}.{_EDGE_PARTS[m[3]]}.{_EDGES[m[2]]}",
    ),
)
_MASK = re.compile(r"backbone\.\d+\.conv1x1_(sbx|sby|lpl)\.mask")


def read_ecbsr(state: Mapping[str, Tensor]) -> ECBSR | PlainECBSR:
    """Build the network from a checkpoint; hyperparameters come from the shapes.

    Whether blocks add their input is not to be seen in weights. None of the published networks does.

    Raises:
        WeightsError: The weights are not those of an ECBSR, folded or with ECB branches.
    """
    if not any("conv1x1_3x3" in name or name.startswith("body.") for name in state):
        return PlainECBSR.from_state_dict(state)
    named = _named(state)
    features, channels, *_ = shape_of(named, "body.0.conv_weight")
    middle = shape_of(named, "body.0.expand_weight")[0]
    blocks = len({name.split(".")[1] for name in named if name.startswith("body.")}) - 2
    if blocks < 0:
        raise WeightsError(f"{blocks + 2} blocks are no network", hint="the checkpoint is not whole")
    scale = scale_of(shape_of(named, f"body.{blocks + 1}.conv_weight")[0], channels)
    return load_strictly(
        lambda: ECBSR(
            scale=scale,
            channels=channels,
            blocks=blocks,
            features=features,
            depth_multiplier=middle / features,
        ),
        named,
    )


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under our names, without the edge masks, which must be ours."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if mask := _MASK.fullmatch(name):
            wanted = torch.tensor(EDGE_MASKS[_EDGES[mask[1]]])
            if tensor.shape[1:] != (1, 3, 3) or not bool((tensor == wanted).all()):
                raise WeightsError(f"'{name}' is another edge filter than ECB's")
            continue
        ours = name
        for pattern, place in _PUBLISHED:
            if match := pattern.fullmatch(name):
                ours = place(match)
        if ours in found:
            raise WeightsError(f"'{ours}' is there twice, once as '{name}'")
        # The authors' scales are [out, 1, 1, 1].
        found[ours] = tensor.reshape(-1) if ours != name and ".edge_scale." in ours else tensor
    return found
