"""Rotary positions: queries and keys turned by angles that grow with the position."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.batch import Layout
from regard.errors import ConfigError, nearest


@dataclass(frozen=True)
class Frequencies:
    """Angle per position of each pair of dimensions, and a factor on what is turned.

    Attributes:
        inverse: (head_dim / 2,) radians per position.
        factor: Factor of the turned vectors (yarn's attention factor), 1 for all other kinds.
    """

    inverse: Float[Tensor, " half"]
    factor: float = 1.0


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, section 3.4.2), first half with second half.

    Args:
        head_dim: Size of a head; even.
        theta: Base of the frequencies.
        scaling: ``rope_scaling`` of a configuration, or None: ``rope_type`` (``"linear"``,
            ``"dynamic"``, ``"yarn"``, ``"llama3"``) with that kind's own numbers.
        max_positions: The longest sequence that the model was trained on.
    """

    def __init__(
        self,
        head_dim: int,
        theta: float,
        scaling: Mapping[str, Any] | None = None,
        max_positions: int = 2048,
    ) -> None:
        super().__init__()
        if head_dim % 2:
            raise ConfigError(f"rotary positions need an even head size; found {head_dim}")
        self.head_dim, self.theta, self.max_positions = head_dim, theta, max_positions
        self.scaling = {name: v for name, v in (scaling or {}).items() if v is not None}
        self.kind = str(self.scaling.get("rope_type") or self.scaling.get("type") or "default")
        if self.kind not in SCALINGS:
            raise ConfigError(
                f"unknown rope_type {self.kind!r}{nearest(self.kind, SCALINGS)}; "
                f"known: {', '.join(SCALINGS)}"
            )
        self._check()
        self.kin = (head_dim, theta, max_positions, repr(sorted(self.scaling.items())))
        self.frequencies(1)  # a missing number shows now, not at the first call
        self._there = dict[torch.device, Frequencies]()

    def _check(self) -> None:
        """Raise `ConfigError` for a number that makes no frequencies."""
        numbers = {"rope_theta": self.theta, **self.scaling}
        for name in numbers.keys() & SMALLEST.keys():
            value, low = numbers[name], SMALLEST[name]
            if not isinstance(value, int | float) or not low <= value <= 1e12:
                raise ConfigError(
                    f"{name} of the rotary positions is {value!r}; it must be a number from "
                    f"{low:g} to 1e12"
                )

    def frequencies(self, length: int) -> Frequencies:
        """Return the frequencies for sequences of at most `length` tokens."""
        try:
            return SCALINGS[self.kind](self, length)
        except KeyError as error:
            raise ConfigError(f"rope_scaling of type {self.kind!r} lacks {error}") from error

    def forward(
        self,
        query: Float[Tensor, "tokens heads head_dim"],
        key: Float[Tensor, "tokens key_heads head_dim"],
        layout: Layout,
    ) -> tuple[Float[Tensor, "tokens heads head_dim"], Float[Tensor, "tokens key_heads head_dim"]]:
        """Turn queries and keys by their positions; the angles are computed once, in fp32."""
        # Layers of one kind turn alike: the first of them computes the angles for all.
        cos, sin = layout.once((self.kin, query.dtype), lambda: self._turns(layout, query))
        return _turn(query, cos, sin), _turn(key, cos, sin)

    def _turns(self, layout: Layout, query: Tensor) -> tuple[Tensor, Tensor]:
        found = self._frequencies_on(query.device, layout.reach)
        angles = layout.positions[:, None].float() * found.inverse
        turn = torch.cat([angles, angles], -1)[:, None]
        cos, sin = turn.cos() * found.factor, turn.sin() * found.factor
        return cos.to(query.dtype), sin.to(query.dtype)

    def _frequencies_on(self, device: torch.device, length: int) -> Frequencies:
        """Return `frequencies` on a device; where they are always the same, sent there once."""
        if device in self._there:
            return self._there[device]
        found = self.frequencies(length)
        found = Frequencies(found.inverse.to(device), found.factor)
        if self.kind != "dynamic":
            self._there[device] = found
        return found


def _turn(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = vectors.chunk(2, -1)
    return vectors * cos + torch.cat([-second, first], -1) * sin


def _plain(head_dim: int, theta: float) -> Tensor:
    # On the processor even while a model is built on meta: these are constants, not weights.
    steps = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")
    return 1.0 / theta ** (steps / head_dim)


def _default(rotary: Rotary, length: int) -> Frequencies:
    return Frequencies(_plain(rotary.head_dim, rotary.theta))


def _linear(rotary: Rotary, length: int) -> Frequencies:
    """Positions divided by a factor (Chen et al. 2023, section 2.3)."""
    return Frequencies(_plain(rotary.head_dim, rotary.theta) / rotary.scaling["factor"])


def _dynamic(rotary: Rotary, length: int) -> Frequencies:
    """A base that grows with the length beyond what was trained (NTK-aware scaling)."""
    factor, trained = rotary.scaling["factor"], rotary.max_positions
    if rotary.head_dim < 4:
        raise ConfigError(
            f"dynamic rotary positions need heads of at least 4; found {rotary.head_dim}"
        )
    longest = max(length, trained)
    power = rotary.head_dim / (rotary.head_dim - 2)
    theta = rotary.theta * ((factor * longest / trained) - (factor - 1)) ** power
    return Frequencies(_plain(rotary.head_dim, theta))


def _yarn(rotary: Rotary, length: int) -> Frequencies:
    """Low frequencies interpolated, high ones kept, a ramp between (Peng et al. 2023, 3.2)."""
    given, head_dim, theta = rotary.scaling, rotary.head_dim, rotary.theta
    factor = given["factor"]
    trained = given.get("original_max_position_embeddings") or rotary.max_positions

    def dimension(turns: float | int) -> float:
        """Return which pair of dimensions makes so many turns over the trained length."""
        return head_dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = dimension(given.get("beta_fast") or 32)
    high = dimension(given.get("beta_slow") or 1)
    if given.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    place = torch.arange(head_dim // 2, dtype=torch.float32, device="cpu")
    ramp = ((place - low) / ((high - low) or 0.001)).clamp(0, 1)
    plain = _plain(head_dim, theta)
    inverse = plain / factor * ramp + plain * (1 - ramp)
    return Frequencies(inverse, _yarn_factor(given, factor))


def _yarn_factor(given: Mapping[str, Any], factor: float | int) -> float | int:
    def scale(by: float | int) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    if given.get("attention_factor") is not None:
        return given["attention_factor"]
    if given.get("mscale") and given.get("mscale_all_dim"):
        return scale(given["mscale"]) / scale(given["mscale_all_dim"])
    return scale(1.0)


def _llama3(rotary: Rotary, length: int) -> Frequencies:
    """Long waves divided, short ones kept, a blend between (Llama 3.1, model card)."""
    given = rotary.scaling
    plain = _plain(rotary.head_dim, rotary.theta)
    low, high = given["low_freq_factor"], given["high_freq_factor"]
    if low >= high:
        raise ConfigError(f"low_freq_factor ({low}) must be below high_freq_factor ({high})")
    waves_in_context = given["original_max_position_embeddings"] * plain / (2 * math.pi)
    blend = ((waves_in_context - low) / (high - low)).clamp(0, 1)
    return Frequencies((1 - blend) * plain / given["factor"] + blend * plain)


#: The numbers of all kinds, and the smallest value of each.
SMALLEST: Mapping[str, float] = {
    "rope_theta": 1.01,
    "factor": 1e-3,
    "original_max_position_embeddings": 1,
    "low_freq_factor": 1e-3,
    "high_freq_factor": 1e-3,
    "beta_fast": 1e-3,
    "beta_slow": 1e-3,
    "attention_factor": 1e-3,
    "mscale": 0,
    "mscale_all_dim": 0,
}

SCALINGS: Mapping[str, Callable[[Rotary, int], Frequencies]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "llama3": _llama3,
}
