"""Letters for labels in pictures: ASCII, 8x16 pixels each, drawn after DejaVu Sans Mono."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["HEIGHT", "WIDTH", "written"]

WIDTH, HEIGHT = 8, 16
_FIRST, _LAST = 32, 126
_PACKED = (
    "c-nPT%W4}j6g5T&K?Wm27FrC&gjr@W%b^G()IpdMvhc3662l;}2*GqwOc|yN|3JWhG=*-"
    "u$lf2|kLV(eq|wW1dhqM&K6KB$XFQv|17e}SoLy)n?#s)oA4TzUzh3(jde5qSE~qoNPfy>-"
    "<Hg0oyXCU{^81(gnADHu5F*%uAY|;){4gN6oFee1sy6t%!I!fd?i43M^c`C62Lu^H7?(@QrqE9ChKtUp?56wC%9pBj1}Wu`*c8IR"
    "H_NYzt{wnzb}wZQAgrsvpY@7!<>Lp_015PFRO!1_^y_|vT0u~qx1JDocHleDrOf9E*BAQ=VAWz#u`n74GlFL!o3{M<a5y|OnY-"
    "%rrceVPJs%-NFSzKPonK4Fn7q#YylTNY7xm8blTzCE8(W6^7`x-V^?Y?QAIyi3p9Dz4yn)57ug~lCcDKG2K3+Qb_|xh1=Xe}P-"
    "+$YF-"
    "87%?goyJt{f2q>s%=%D^ymE<i2U_+pW;3xg;DQ+UB4vZ!;^iFT3baygMYstk4^Kal#f^1M+@cq9hC`=^^9H!UOIj`4sZ)#`uV~bp"
    "$tH6RVcs-h|rGD{*My>bEFl%5@OQ7UbU8Q%k_wYUn@ZR{X>nF5=OEyU-5yt{VudjhpFG-ckvK}`sQHTk6~RU`$q{U;<l|GcDo1FP"
    "X9Jx9E(tYXe@%A)_46S`>_fz{1|)FAM|!<5%W7qLGANBzYoE0E>p=oi~w$u=Xd|JX}+s2#utQCMO+eBRxiX)YygOq%V{2&Ip1P4p"
    "e+7dM+I7!4Z_>F(d{&xSJsxe3j"
)


def written(text: str) -> NDArray[np.bool_]:
    """Return text as pixels, [HEIGHT, WIDTH * letters]; what is not ASCII becomes a question mark."""
    packed = np.frombuffer(zlib.decompress(base64.b85decode(_PACKED)), np.uint8)
    letters = np.unpackbits(packed).reshape(-1, HEIGHT, WIDTH).astype(bool)
    codes = [ord(c) if _FIRST <= ord(c) <= _LAST else ord("?") for c in text]
    if not codes:
        return np.zeros((HEIGHT, 0), bool)
    return np.concatenate([letters[code - _FIRST] for code in codes], axis=1)
