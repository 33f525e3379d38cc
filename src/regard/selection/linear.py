"""Linear models of fixed vectors: what candidates are compared by without training them."""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

#: What the examples count against the penalty of weights, for vectors of length 1 on average: C in
#: scikit-learn's words. Good for a few hundred examples of sentiment, questions and similarity.
STRENGTH = 2.0
#: Steps of L-BFGS at most.
STEPS = 100

#: From (n, outputs) and targets to the mean loss.
LossFunction = Callable[[Tensor, Tensor], Tensor]
#: Name -> the loss of one class of several, several labels at once, or a number.
LOSSES: Mapping[str, LossFunction] = {
    "single_label_classification": F.cross_entropy,
    "multi_label_classification": F.binary_cross_entropy_with_logits,
    "regression": lambda outputs, targets: (outputs[:, 0] - targets).square().mean() / 2,
}


def cross_validated(
    vectors: Float[Tensor, "n width"],
    targets: Tensor,
    fold: Int[Tensor, " n"],
    outputs: int,
    kind: str,
) -> Float[Tensor, "n outputs"]:
    """Return what linear models say of each vector that was held out while they were fitted.

    Args:
        vectors: What a frozen model makes of the inputs.
        targets: (n,) classes or numbers, or (n, outputs) 0 and 1.
        fold: The fold of each.
        outputs: Numbers that are said of each.
        kind: A problem type, in `LOSSES`.
    """
    said = torch.empty(len(vectors), outputs, dtype=torch.float64)
    for number in sorted({*map(int, fold)}):
        held = fold == number
        known = vectors[~held]
        # To one scale, by what is learned from alone: what is held out stays unseen.
        mean, deviation = known.mean(0), known.std(0, correction=0).clamp_min(1e-6)
        scaled = ((vectors - mean) / (deviation * math.sqrt(vectors.shape[1]))).double()
        weight, bias = fit(scaled[~held], targets[~held], outputs, LOSSES[kind])
        said[held] = scaled[held] @ weight + bias
    return said


def fit(
    vectors: Float[Tensor, "n width"], targets: Tensor, outputs: int, loss: LossFunction
) -> tuple[Float[Tensor, "width outputs"], Float[Tensor, " outputs"]]:
    """Return weights and bias of the linear model with the least loss and penalty.

    It is logistic regression, or ridge regression: a convex problem, so the start does not matter,
    and L-BFGS (Liu and Nocedal 1989) finds its end in a few dozen steps.
    """
    weight = torch.zeros(vectors.shape[1], outputs, dtype=vectors.dtype, requires_grad=True)
    bias = torch.zeros(outputs, dtype=vectors.dtype, requires_grad=True)
    penalty = 1 / (2 * STRENGTH * len(vectors))
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(vectors @ weight + bias, targets) + penalty * weight.square().sum()
        torch.autograd.backward(value)
        return value

    optimizer.step(closure)
    return weight.detach(), bias.detach()
