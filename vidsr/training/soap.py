"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner.

N. Vyas, D. Morwani, R. Zhao, I. Shapira, D. Brandfonbrener, L. Janson, S. Kakade, "SOAP: Improving and
Stabilizing Shampoo using Adam", ICLR 2025. A kernel [out, in, 3, 3] is taken as a matrix
[out, in * 9]; G G^T and G^T G are averaged, their eigenvectors followed by one step of
orthogonal iteration now and then, and Adam runs on the gradient seen in them. Small
super-resolution networks are far from saturated after any affordable number of steps: on
ECBSR-M4C16, 4,000 steps of it came as far as 20,000 of Adam (docs/performance.md), for a tenth more time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SOAP"]


class SOAP(torch.optim.Optimizer):
    """For parameters of two and more dimensions; those of one get plain Adam."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 3e-3,
        *,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        every: int = 10,
        largest: int = 640,
    ) -> None:
        """Take the parameters.

        Args:
            parameters: What is trained.
            lr: Step size, as Adam's.
            betas: Decay of the mean gradient, and of its square and the preconditioner.
            eps: Added to the root of the mean square.
            every: Steps between two updates of the eigenvectors.
            largest: Sides above this are left as they are: their eigenvectors would cost more
                than they gain.
        """
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "every": every})
        self._largest = largest

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Do one step; the very first only looks at the gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, raw: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        gradient = raw.float().reshape(len(raw), -1) if raw.ndim > 1 else raw.float()
        if not state:
            state["step"] = torch.zeros((), dtype=torch.int64)  # a tensor, or loading would lose its type
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            for side in self._sides(gradient):
                outer = _outer(gradient, side)
                state[f"outer{side}"] = outer
                state[f"basis{side}"] = torch.linalg.eigh(outer)[1].flip(1)
            return  # no eigenbasis worth the name yet
        beta1, beta2 = group["betas"]
        state["step"] += 1
        count = int(state["step"])
        state["mean"].lerp_(gradient, 1 - beta1)
        seen = _project(gradient, state)
        state["square"].lerp_(seen * seen, 1 - beta2)
        unbias = math.sqrt(1 - beta2**count) / (1 - beta1**count)
        move = unbias * _project(state["mean"], state) / (state["square"].sqrt() + group["eps"])
        parameter.add_(_back(move, state).reshape(parameter.shape).to(parameter.dtype), alpha=-group["lr"])
        for side in self._sides(gradient):
            state[f"outer{side}"].lerp_(_outer(gradient, side), 1 - beta2)
            if count % group["every"] == 0:
                self._turn(state, side)

    def _sides(self, gradient: Tensor) -> list[int]:
        """Return which sides of the matrix have a basis."""
        if gradient.ndim < 2:
            return []
        return [side for side in (0, 1) if 1 < gradient.shape[side] <= self._largest]

    @staticmethod
    def _turn(state: dict[str, Tensor], side: int) -> None:
        """Follow the eigenvectors by one step of orthogonal iteration, largest first."""
        outer, basis = state[f"outer{side}"], state[f"basis{side}"]
        turned = outer @ basis
        order = (basis * turned).sum(dim=0).argsort(descending=True, stable=True)
        state["square"] = state["square"].index_select(side, order)
        state[f"basis{side}"] = torch.linalg.qr(turned[:, order])[0]


def _outer(gradient: Tensor, side: int) -> Tensor:
    return gradient @ gradient.T if side == 0 else gradient.T @ gradient


def _project(matrix: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Return the matrix as the eigenbases see it."""
    if "basis0" in state:
        matrix = state["basis0"].T @ matrix
    return matrix @ state["basis1"] if "basis1" in state else matrix


def _back(matrix: Tensor, state: dict[str, Tensor]) -> Tensor:
    if "basis0" in state:
        matrix = state["basis0"] @ matrix
    return matrix @ state["basis1"].T if "basis1" in state else matrix
