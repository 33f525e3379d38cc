"""Normalisations that torch has not, or not with the numbers of the checkpoints."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.native.calls import LANES, usable
from regard.native.norm import add_norm
from regard.watched import watched


class RMSNorm(nn.Module):
    """``weight * x / rms(x)`` (Zhang and Sennrich 2019, section 4), computed at least in fp32.

    Args:
        width: Size of the last dimension.
        eps: Added to the mean square.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def reset_parameters(self) -> None:
        """Set the weights to one."""
        nn.init.ones_(self.weight)

    def forward(self, hidden: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens width"]:
        """Normalise the last dimension; the result has the type of the weights.

        So a model in half precision may add up its layers in fp32.
        """
        exact = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * exact.to(self.weight.dtype)


def normalized_sum(
    norm: nn.Module, hidden: Float[Tensor, "tokens width"], added: Float[Tensor, "tokens width"]
) -> Float[Tensor, "tokens width"]:
    """Return ``norm(hidden + added)``, in one pass where there is a kernel for it."""
    # A compiler fuses these by itself, and need not know what the kernel asks for.
    if (
        not torch.compiler.is_compiling()
        and type(norm) is nn.LayerNorm
        and _one_pass(norm, hidden, added)
    ):
        return add_norm(hidden, added, norm.weight, norm.bias, norm.eps)
    return norm(hidden + added)


def _one_pass(norm: nn.LayerNorm, hidden: Tensor, added: Tensor) -> bool:
    return (
        getattr(norm, "bias", None) is not None
        and hidden.dtype == norm.weight.dtype == torch.float32
        and added.dtype in (torch.float32, torch.bfloat16)
        and hidden.shape == added.shape
        and hidden.shape[-1] % LANES == 0
        and hidden.is_contiguous()
        and added.is_contiguous()
        and usable(hidden, added, norm.weight, norm.bias)
        and not watched(norm)
    )
