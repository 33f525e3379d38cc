"""Long contexts cut into windows that overlap, and the answer's tokens in each."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from regard.data.mapping import OWNERS
from regard.errors import DataError, notices
from regard.text.encoding import BatchEncoding, TokenSpan
from regard.text.tokenizer import Tokenizer


def question_answering_windows(
    batch: Mapping[str, Sequence[Any]],
    tokenizer: Tokenizer,
    *,
    max_length: int = 384,
    doc_stride: int = 128,
) -> BatchEncoding:
    """Tokenize questions with their contexts: for ``examples.map(batched=True)``.

    A context that is too long becomes several rows, which share `doc_stride` tokens; a question
    that would leave no room for more than these is cut, with a notice. A row that
    does not hold the whole answer, or whose question has none, has both positions at the first
    special token (``[CLS]``), which stands for no answer (Devlin et al. 2019, section 4.3).

    Args:
        batch: The columns ``id``, ``question``, ``context`` and ``answers``, as `read_squad` has
            them; without ``answers`` there are no positions. The first answer is learned.
        tokenizer: The tokenizer.
        max_length: Tokens of a row at most, special ones included.
        doc_stride: Tokens that neighbouring windows share.

    Returns:
        What the tokenizer returns, with ``start_positions`` and ``end_positions`` (the last token
        of the answer), ``example_id``, and ``offset_mapping``, which has None for tokens that are
        not of the context. Pass ``remove_columns`` to `map`: there may be more rows than questions.

    Raises:
        DataError: `max_length` has no room for a question and windows that share `doc_stride`.
    """
    encoding = tokenizer(
        _short_questions(list(batch["question"]), tokenizer, max_length, doc_stride),
        list(batch["context"]),
        truncation="only_second",
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = cast("list[int]", encoding[OWNERS])
    offsets = [
        [
            span if sequence == 1 else None
            for span, sequence in zip(spans, encoding.sequence_ids(row), strict=True)
        ]
        for row, spans in enumerate(encoding["offset_mapping"])
    ]
    encoding["offset_mapping"] = offsets
    if "id" in batch:
        encoding["example_id"] = [batch["id"][owner] for owner in owners]
    if "answers" in batch:
        spans = [
            _answer(batch["answers"][owner], batch["context"][owner], offsets[row])
            or _no_answer(encoding["input_ids"][row], tokenizer.cls_token_id)
            for row, owner in enumerate(owners)
        ]
        encoding["start_positions"] = [span.start for span in spans]
        encoding["end_positions"] = [span.end - 1 for span in spans]
    return encoding


def spans_to_tokens(
    start: int, end: int, offsets: Sequence[tuple[int, int] | None]
) -> TokenSpan | None:
    """Return the tokens that hold characters ``[start, end)``, or None if some are not there.

    Args:
        start: The first character.
        end: The character after the last.
        offsets: For each token its characters ``(start, end)``, or None for one of another text.
    """
    inside = [(i, span) for i, span in enumerate(offsets) if span is not None]
    held = [i for i, (first, last) in inside if first < end and last > start]
    if not held or inside[0][1][0] > start or inside[-1][1][1] < end:
        return None
    return TokenSpan(held[0], held[-1] + 1)


def _short_questions(
    questions: list[str], tokenizer: Tokenizer, max_length: int, doc_stride: int
) -> list[str]:
    """Return the questions, cut where a window would have no token but the shared ones."""
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - doc_stride - 1
    if room < 1:
        raise DataError(
            f"max_length={max_length} has no room for a question and windows that share "
            f"doc_stride={doc_stride} tokens; use a smaller doc_stride"
        )
    tokens = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)
    offsets = cast("list[list[tuple[int, int]]]", tokens["offset_mapping"])
    cut = [
        question if len(spans) <= room else question[: spans[room - 1][1]]
        for question, spans in zip(questions, offsets, strict=True)
    ]
    count = sum(len(spans) > room for spans in offsets)
    if count:
        notices.warning(
            "%d of %d questions were cut to the %d tokens that max_length=%d, doc_stride=%d leave",
            *(count, len(questions), room, max_length, doc_stride),
        )
    return cut


def _answer(
    answers: Mapping[str, Sequence[Any]],
    context: str,
    offsets: Sequence[tuple[int, int] | None],
) -> TokenSpan | None:
    if not answers["text"]:
        return None
    start = int(answers["answer_start"][0])
    text = context[start : start + len(answers["text"][0])]
    # White space at the ends is in no token, so no window would hold it.
    start += len(text) - len(text.lstrip())
    return spans_to_tokens(start, start + len(text.strip()), offsets)


def _no_answer(ids: Sequence[int], cls_token_id: int | None) -> TokenSpan:
    place = 0 if cls_token_id is None or cls_token_id not in ids else [*ids].index(cls_token_id)
    return TokenSpan(place, place + 1)
