"""Answers to questions against the reference's way to read them, from the reference's logits.

Its pipeline is gone since version 5, but the function that read answers in it still reads those of
documents.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.pipelines.document_question_answering import select_starts_ends

import regard

from .encoders import encoder_folder

QUESTION = "Where did Angela Merkel's aeroplane land?"
CONTEXTS = [
    "Angela Merkel visited Paris-Charles-de-Gaulle in O'Hare's U.S. office.",
    "  Unbelievably   antidisestablishmentarianistically\tspaced \n words  ",
    "I 💜 emojis 👩‍👩‍👧‍👦 and flags 🇩🇪!!!",
    "שלום עולם مرحبا بالعالم",
    "東京は日本の首都です。 Москва — столица России.",
    "x" * 150 + " tiny " + "ab" * 40,
    "a",
]


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / request.param
    return encoder_folder(place, request.param, "ForQuestionAnswering")


class Reference:
    """The reference's model and tokenizer, and how it reads them."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder).eval()

    def spans(self, context: str, longest: int) -> tuple[Any, Any, float]:
        """Return the encoding, all spans as (start, end, score), and the score of no answer."""
        encoding = self.tokenizer(QUESTION, context, return_tensors="pt")
        with torch.inference_mode():
            output = self.model(**encoding)
        mask = np.array([[owner != 1 for owner in encoding.sequence_ids(0)]], int)
        mask[0, 0] = 0
        *found, nothing = select_starts_ends(
            output.start_logits.numpy().astype(np.float64),
            output.end_logits.numpy().astype(np.float64),
            mask,
            encoding["attention_mask"].numpy(),
            top_k=mask.size**2,
            handle_impossible_answer=True,
            max_answer_len=longest,
        )
        spans = [each for each in zip(*found, strict=True) if each[2] > 0]
        return encoding, spans, nothing


@pytest.mark.parametrize("longest", [1, 3, 15])
@pytest.mark.parametrize("whole", [False, True], ids=["tokens", "words"])
def test_answers_are_those_of_the_reference(folder: Path, whole: bool, longest: int) -> None:
    """Same places, same text, same scores; those of words are sums over spans of tokens."""
    reference = Reference(folder)
    answer = regard.pipeline("question-answering", str(folder))
    for context in CONTEXTS:
        encoding, spans, nothing = reference.spans(context, longest)
        scores: dict[tuple[int, int], float] = defaultdict(float)
        for start, end, score in spans:
            places = encoding.token_to_chars(0, start)[0], encoding.token_to_chars(0, end)[1]
            if whole:
                first, last = (encoding.token_to_word(0, int(each)) for each in (start, end))
                places = (
                    encoding.word_to_chars(0, first, 1)[0],
                    encoding.word_to_chars(0, last, 1)[1],
                )
                scores[places] += score
            else:
                scores[places] = max(scores[places], score)
        best = sorted(scores.items(), key=lambda each: -each[1])
        given = {"question": QUESTION, "context": context}
        options = {"max_answer_len": longest, "align_to_words": whole}
        found = answer(given, **options)
        assert found["score"] == pytest.approx(best[0][1], abs=1e-5)
        assert scores[found["start"], found["end"]] == pytest.approx(best[0][1], abs=1e-7)
        assert found["answer"] == context[found["start"] : found["end"]]
        several = answer(given, top_k=3, handle_impossible_answer=True, **options)
        expected = sorted([nothing, *(score for _, score in best[:3])], reverse=True)[:3]
        if whole or not _shared(spans, encoding):
            assert [each["score"] for each in several] == pytest.approx(expected, abs=1e-5)


def _shared(spans: Any, encoding: Any) -> bool:
    """Whether tokens share characters (of an emoji), so that several spans are one answer."""
    places = [encoding.token_to_chars(0, int(start)) for start, _, _ in spans]
    return len({*places}) < len({start for start, _, _ in spans})
