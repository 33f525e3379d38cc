"""A low-rank change of a linear map (Hu et al. 2021, section 4.1)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regard.adapters.config import LoraConfig
from regard.dropout import Dropout


class LowRank(nn.Module):
    """``scale * B A x``: what is added to ``W x``.

    It belongs to one matrix of the files. Where that holds several of ours (GPT-2's ``c_attn``),
    they share A, and each has its part of B's rows.

    Args:
        inputs: Size of what the map reads.
        outputs: Size of what it gives, all its parts together.
        config: Rank, scale, dropout and start.
        like: A weight with the type and device to have; half precision trains in float32.
    """

    def __init__(self, inputs: int, outputs: int, config: LoraConfig, like: Tensor) -> None:
        super().__init__()
        self.lora_A = nn.Linear(inputs, config.r, bias=False)
        self.lora_B = nn.Linear(config.r, outputs, bias=False)
        self.dropout = Dropout(config.lora_dropout)
        self.scale = config.scale
        if config.init_lora_weights == "gaussian":
            nn.init.normal_(self.lora_A.weight, std=1 / config.r)
        else:
            nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        if config.init_lora_weights:
            nn.init.zeros_(self.lora_B.weight)
        self.to(like.device, torch.promote_types(like.dtype, torch.float32))

    def forward(
        self, vectors: Float[Tensor, "*tokens inputs"], part: int, parts: int
    ) -> Float[Tensor, "*tokens outputs"]:
        """Return what one of `parts` equal parts of the outputs changes by."""
        inner = self.lora_A(self.dropout(vectors.to(self.lora_A.weight.dtype)))
        return F.linear(inner, self.lora_B.weight.chunk(parts)[part]) * self.scale

    def change(self, part: int, parts: int) -> Float[Tensor, "outputs inputs"]:
        """Return the same as a matrix to add to the weight."""
        return self.lora_B.weight.chunk(parts)[part] @ self.lora_A.weight * self.scale
