"""Generated text against references (BLEU, chrF, ROUGE), and how well text is foreseen."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np

from regard.errors import ConfigError, DataError
from regard.training.metrics.metric import (
    IGNORED,
    Metric,
    as_array,
    choice,
    first_output,
    ratio,
    same_length,
)


class TextMetric(Metric):
    """A metric of texts; it keeps them.

    Args:
        tokenizer: Turns token ids into text; not needed for what is text.
    """

    def __init__(self, tokenizer: Any = None) -> None:
        self.tokenizer = tokenizer
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        self.predictions: list[str] = []
        self.references: list[list[str]] = []

    @property
    def count(self) -> int:
        """How many texts were added."""
        return len(self.predictions)

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Keep a batch.

        Args:
            predictions: Texts, or (examples, tokens) ids.
            references: One text for each or a list of several, or (examples, tokens) ids.
        """
        texts, golds = self._texts(predictions), self._texts(references)
        same_length(texts, golds)
        if not all(golds):
            raise DataError("a prediction has an empty list of references; wanted one or more")
        self.predictions += [str(text) for text in texts]
        self.references += [[gold] if isinstance(gold, str) else [*gold] for gold in golds]

    def absorb(self, other: Any) -> None:
        """Add what another one kept."""
        self.predictions = [*self.predictions, *other.predictions]
        self.references = [*self.references, *other.references]

    def _texts(self, values: Any) -> Sequence[Any]:
        if isinstance(values, list | tuple):
            texts = cast("Sequence[Any]", values)
            if all(isinstance(each, str) or _all_text(each) for each in texts):
                return texts
        ids = as_array(values)
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise DataError(
                f"wanted texts or (examples, tokens) ids; found {ids.dtype} of shape {ids.shape}. "
                "Logits that saw the right text before each token say little: generate text first"
            )
        if self.tokenizer is None:
            raise DataError("token ids are no text: load the metric with tokenizer=...")
        return [
            self.tokenizer.decode(row[row != IGNORED].tolist(), skip_special_tokens=True).strip()
            for row in ids
        ]


def _all_text(values: Any) -> bool:
    several = cast("Sequence[Any]", values) if isinstance(values, list) else [None]
    return all(isinstance(each, str) for each in several)


class Translation(TextMetric):
    """``bleu`` (Papineni et al. 2002) and ``chrf`` (Popović 2015), 0 to 100, as sacrebleu counts.

    Args:
        tokenizer: See `TextMetric`.
        scores: Which of the two.
        bleu: Arguments of ``sacrebleu.BLEU``, such as ``{"tokenize": "zh"}``.
        chrf: Arguments of ``sacrebleu.CHRF``, such as ``{"word_order": 2}`` for chrF++.
    """

    percent: ClassVar[bool] = True

    def __init__(
        self,
        tokenizer: Any = None,
        *,
        scores: Sequence[str] = ("bleu", "chrf"),
        bleu: Mapping[str, Any] | None = None,
        chrf: Mapping[str, Any] | None = None,
    ) -> None:
        for name in scores:
            choice("scores", name, ("bleu", "chrf"))
        sacrebleu = installed("sacrebleu", "sacrebleu")
        makers = {"bleu": (sacrebleu.BLEU, bleu), "chrf": (sacrebleu.CHRF, chrf)}
        self.scorers = {name: makers[name][0](**(makers[name][1] or {})) for name in scores}
        super().__init__(tokenizer)

    def results(self) -> dict[str, float]:
        """Return the scores of the whole corpus."""
        most = max(map(len, self.references))
        streams = [
            [golds[i] if i < len(golds) else None for golds in self.references] for i in range(most)
        ]
        return {
            name: scorer.corpus_score(self.predictions, streams).score
            for name, scorer in self.scorers.items()
        }


class Rouge(TextMetric):
    """``rouge1``, ``rouge2``, ``rougeL``, ``rougeLsum``: mean F1, 0 to 1 (Lin 2004).

    Args:
        tokenizer: See `TextMetric`.
        use_stemmer: Compare stems of English words.
    """

    names = ("rouge1", "rouge2", "rougeL", "rougeLsum")

    def __init__(self, tokenizer: Any = None, *, use_stemmer: bool = False) -> None:
        module = installed("rouge_score.rouge_scorer", "rouge-score")
        self.scorer = module.RougeScorer([*self.names], use_stemmer=use_stemmer)
        super().__init__(tokenizer)

    def results(self) -> dict[str, float]:
        """Return the means; of several references the best counts."""
        pairs = zip(self.references, self.predictions, strict=True)
        scores = [self.scorer.score_multi(golds, text) for golds, text in pairs]
        return {
            name: sum(each[name].fmeasure for each in scores) / self.count for name in self.names
        }


class Perplexity(Metric):
    """``perplexity``: the exponential of the mean negative log-likelihood of a labelled token.

    Args:
        shift: Whether logits foresee the next token (a causal model) and not their own.
    """

    def __init__(self, *, shift: bool = False) -> None:
        self.shift = shift
        super().__init__()

    def reset(self) -> None:
        """Forget everything that was added."""
        self.total, self._count = 0.0, 0

    @property
    def count(self) -> int:
        """How many labelled tokens were added."""
        return self._count

    def add_batch(self, predictions: Any, references: Any) -> None:
        """Count a batch.

        Args:
            predictions: (rows, tokens, words) logits, or (rows, tokens) log-likelihoods of the
                labels, as `preprocess` gives them.
            references: (rows, tokens) labels; -100 is left out.
        """
        import torch

        scores, labels = as_array(predictions), as_array(references, "labels")
        if scores.ndim == labels.ndim + 1:
            scores = self.preprocess(torch.from_numpy(scores), torch.from_numpy(labels)).numpy()
        if scores.shape != labels.shape:
            raise DataError(
                f"predictions are {scores.shape} and labels {labels.shape}; wanted logits of words "
                "for each label"
            )
        if self.shift:
            scores, labels = scores[..., 1:], labels[..., 1:]
        known = scores[labels != IGNORED]
        self.total -= float(known.sum(dtype=np.float64))
        self._count += len(known)

    def absorb(self, other: Any) -> None:
        """Add what another one counted."""
        self.total, self._count = self.total + other.total, self._count + other.count

    def preprocess(self, logits: Any, labels: Any) -> Any:
        """Return the log-likelihood of each label, in place of a logit for each word."""
        from torch.nn import functional

        words = first_output(logits)
        if self.shift:
            words, labels = words[..., :-1, :], labels[..., 1:]
        found = -functional.cross_entropy(
            words.float().flatten(0, -2),
            labels.flatten().long(),
            ignore_index=IGNORED,
            reduction="none",
        ).reshape(labels.shape)
        return functional.pad(found, (1, 0)) if self.shift else found

    def results(self) -> dict[str, float]:
        """Return the perplexity; beyond the range of floats it is infinite."""
        with np.errstate(over="ignore"):
            return {"perplexity": float(np.exp(ratio(self.total, self.count)))}


def installed(module: str, package: str) -> Any:
    """Import a package of the extra ``training``.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this metric needs {package}: pip install {package}, or regard[training]"
        ) from error
