"""Activations as polynomials, for kernels that compute them on the way.

``x F(x)`` with ``F`` odd around 1/2: GELU (Hendrycks and Gimpel 2016) and its tanh approximation.
``F(x) = 1/2 + x P(x^2)`` for ``|x|`` up to a reach, and constant beyond; ``P`` is interpolated at
Chebyshev's points (Trefethen 2013, chapter 2), so errors are even all over.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regard.layers.activations import ACTIVATIONS, Activation


class Fit(NamedTuple):
    """How an activation is fitted.

    Attributes:
        reach: Beyond it ``F`` is constant.
        degree: Of ``P``.
    """

    reach: float
    degree: int


#: To 1.2e-5 within the reach and 2e-6 of x beyond, a hundredth of what a byte can tell.
_FITS: Mapping[Activation, Fit] = {
    ACTIVATIONS["gelu"]: Fit(4.6, 10),
    ACTIVATIONS["gelu_new"]: Fit(4.6, 10),
}


@cache
def curve_of(act: Activation) -> Float[Tensor, " numbers"] | None:
    """Return an activation as kernels read it, or None: they cannot.

    The reach, then the coefficients of ``P`` as a polynomial of ``2 (x / reach)^2 - 1``, lowest
    first. A zero alone is ReLU.
    """
    if act is ACTIVATIONS["relu"]:
        return torch.zeros(1)
    fit = _FITS.get(act)
    if fit is None:
        return None

    def brackets(place: np.ndarray) -> np.ndarray:
        x = np.sqrt((place + 1) / 2) * fit.reach
        return (act(torch.from_numpy(x)).numpy() / x - 0.5) / x

    found = np.polynomial.chebyshev.Chebyshev.interpolate(brackets, fit.degree)
    coefficients = np.polynomial.chebyshev.cheb2poly(found.coef)
    return torch.tensor([fit.reach, *coefficients], dtype=torch.float32)
