import copy
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from regard.checkpoints.files import find_checkpoint
from regard.text import BertTokenizer, PreTrainedTokenizerFast, Tokenizer

CLS, SEP = 2, 3
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return [tokenizer.get_vocab()[token] for token in text.split(" ")]


def test_a_text_gives_flat_lists(tokenizer: BertTokenizer):
    found = tokenizer("The foxs jumps!")
    assert found == {
        "input_ids": ids(tokenizer, "[CLS] the fox ##s jumps ! [SEP]"),
        "token_type_ids": [0] * 7,
        "attention_mask": [1] * 7,
    }
    assert found.truncated == [0]


def test_a_batch_gives_lists_of_lists(tokenizer: BertTokenizer):
    found = tokenizer(["a", "b c"], padding=True)
    assert found.input_ids == [[CLS, 13, SEP, 0], [CLS, 14, 15, SEP]]
    assert found.attention_mask == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert tokenizer(["a", "b c"]).input_ids == [[CLS, 13, SEP], [CLS, 14, 15, SEP]]


def test_a_pair_has_two_segments(tokenizer: BertTokenizer):
    found = tokenizer("a", "b c")
    assert found.input_ids == ids(tokenizer, "[CLS] a [SEP] b c [SEP]")
    assert found.token_type_ids == [0, 0, 0, 1, 1, 1]
    assert tokenizer([("a", "b c")]).input_ids == [found.input_ids]


def test_an_empty_batch_is_empty(tokenizer: BertTokenizer):
    assert tokenizer([], padding=True) == {
        "input_ids": [],
        "token_type_ids": [],
        "attention_mask": [],
    }
    assert tokenizer([], padding=True, return_tensors="pt").input_ids.shape == (0, 0)


@pytest.mark.parametrize("kind", ["pt", "np"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_tensors(tokenizer: BertTokenizer, kind: str, side: str):
    found = tokenizer(
        ["a", "b c"],
        padding=True,
        padding_side=side,
        return_tensors=kind,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    first = [CLS, 13, SEP]
    wanted = [0, *first] if side == "left" else [*first, 0]
    assert isinstance(found.input_ids, torch.Tensor if kind == "pt" else np.ndarray)
    assert found.input_ids.tolist() == [wanted, [CLS, 14, 15, SEP]]
    assert found["input_ids"].dtype in (torch.int64, np.int64)
    assert found.offset_mapping.shape == (2, 4, 2)
    assert found.special_tokens_mask.tolist()[0] == [int(i != 13) for i in wanted]
    assert tokenizer("a", return_tensors=kind).input_ids.shape == (1, 3)


def test_ragged_tensors_name_the_fix(tokenizer: BertTokenizer):
    with pytest.raises(ValueError, match="padding=True"):
        tokenizer(["a", "b c"], return_tensors="np")


def test_padding_to_a_length(tokenizer: BertTokenizer):
    def width(**options: Any) -> int:
        return len(tokenizer("a", **options).input_ids)

    assert width(padding="max_length") == 12  # model_max_length
    assert width(padding="max_length", max_length=5) == 5
    assert width(padding="max_length", max_length=2) == 3  # a longer row stays
    assert width(padding=True, pad_to_multiple_of=8) == 8


def test_padding_without_a_padding_token(tokenizer: BertTokenizer):
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        tokenizer(["a"], padding=True)


def test_unknown_arguments_name_the_nearest(tokenizer: BertTokenizer):
    with pytest.raises(TypeError, match=r"'max_lenght'; did you mean 'max_length'"):
        tokenizer("a", max_lenght=3)
    with pytest.raises(TypeError, match="did you mean 'truncation'"):
        tokenizer.encode("a", truncate=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "longestt"}, "did you mean 'longest'"),
        ({"truncation": "onlyfirst"}, "did you mean 'only_first'"),
        ({"return_tensors": "tf"}, "wanted 'pt', 'np'"),
        ({"padding_side": "up"}, "'right' or 'left'"),
        ({"max_length": -1}, "max_length=-1"),
        ({"stride": -1}, "stride=-1"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of=0"),
        ({"max_length": 1}, "2 of the tokens are special"),
        ({"max_length": 2, "return_overflowing_tokens": True}, "no room"),
        ({"max_length": 5, "stride": 3}, "less than the 3 tokens"),
        ({"max_length": 5, "truncation": "only_second"}, "pass text_pair"),
        (
            {"max_length": 9, "truncation": True, "padding": True, "pad_to_multiple_of": 8},
            "multiple of 8",
        ),
    ],
)
def test_impossible_options(tokenizer: BertTokenizer, options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        tokenizer("a b c d e f g h", **options)


def test_impossible_truncation_of_pairs(tokenizer: BertTokenizer):
    with pytest.raises(ValueError, match="first text alone"):
        tokenizer("a", "b c d e f", truncation="only_first", max_length=5)
    with pytest.raises(ValueError, match="smaller stride"):
        tokenizer(
            "a b c d e f",
            "g h",
            truncation="only_first",
            max_length=8,
            stride=3,
            return_overflowing_tokens=True,
        )
    # Without the pieces the stride has no meaning, so it cannot be wrong.
    found = tokenizer("a b c d e f", "g h", truncation="only_first", max_length=8, stride=3)
    assert found.truncated == [3]
    # The Rust code panicked; it must still work.
    assert tokenizer("a").input_ids == [CLS, 13, SEP]


def test_the_carried_truncation_and_padding_do_not_count():
    """MiniLM's tokenizer.json cuts and pads to 128."""
    tokenizer = Tokenizer.from_pretrained(MINILM)
    assert len(tokenizer("a").input_ids) == 3
    assert len(tokenizer("a " * 300).input_ids) == 302
    assert len(tokenizer.encode_batch(["a " * 300, "a"])[1]) == 3


def brute_force_cut(tokenizer: Tokenizer, pair: Any, encoding: Any, row: int) -> int:
    return len(tokenizer(*pair).input_ids) - sum(token != "[PAD]" for token in encoding.tokens(row))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("overflowing", [False, True])
@pytest.mark.parametrize("stride", [0, 2])
@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
def test_truncated_counts_the_missing_tokens(
    tokenizer: BertTokenizer, side: str, overflowing: bool, stride: int, strategy: str
):
    tokenizer.truncation_side = side
    generator = random.Random(7)
    seen: set[int] = set()
    for _ in range(60):
        first, second = (" ".join("abcdefgh"[: generator.randrange(9)]) for _ in range(2))
        pair = (
            (first,) if strategy != "only_second" and generator.random() < 0.4 else (first, second)
        )
        try:
            found = tokenizer(
                *([text] for text in pair),
                truncation=strategy,
                max_length=generator.randrange(6, 16),
                stride=stride,
                padding=generator.random() < 0.5,
                return_overflowing_tokens=overflowing,
            )
        except ValueError:  # impossible for this pair
            continue
        rows = range(len(found.input_ids))
        wanted = [brute_force_cut(tokenizer, pair, found, row) for row in rows]
        assert found.truncated == wanted
        seen.update(wanted)
    assert len(seen) > 3


def test_a_cut_is_told_once(tokenizer: BertTokenizer, said: list[str]):
    assert tokenizer(["a b c d", "a"], max_length=4).truncated == [2, 0]
    tokenizer(["a b c d", "a"], max_length=3)
    tokenizer.encode_batch(["a b c d"], max_length=3)
    assert len(said) == 1
    assert "1 of 2 texts were cut to 4 tokens (the model takes 12)" in said[0]


def test_the_lean_path_tells_of_a_cut(tokenizer: BertTokenizer, said: list[str]):
    found = tokenizer.encode_batch(["a b c d", "a"], max_length=4)
    assert [len(encoding) for encoding in found] == [4, 3]
    assert len(said) == 1


def test_a_cut_that_loses_nothing_is_not_told(tokenizer: BertTokenizer, said: list[str]):
    tokenizer("a b c d", max_length=4, return_overflowing_tokens=True)
    tokenizer("a b", max_length=4)
    assert said == []


def test_a_text_that_is_too_long_is_told_once(tokenizer: BertTokenizer, said: list[str]):
    tokenizer("a " * 10)
    assert said == []
    tokenizer(["a", "a " * 11])
    tokenizer("a " * 20)
    assert len(said) == 1
    assert "13 tokens and the model takes 12" in said[0]


def test_truncation_uses_the_length_of_the_model(tokenizer: BertTokenizer):
    assert len(tokenizer("a " * 20, truncation=True).input_ids) == 12
    assert len(tokenizer("a " * 20, truncation=False, max_length=5).input_ids) == 22
    assert len(tokenizer("a " * 20, max_length=5).input_ids) == 5


def test_a_length_that_nobody_knows_is_told(tokenizer: BertTokenizer, said: list[str]):
    tokenizer.model_max_length = 10**30
    assert len(tokenizer("a " * 20, truncation=True).input_ids) == 22
    assert len(tokenizer("a", padding="max_length").input_ids) == 3
    assert len(tokenizer(["a", "b"], padding=True, max_length=9).input_ids[0]) == 3
    assert len(said) == 3
    assert "nothing is cut" in said[0]
    assert "nothing is padded" in said[1]
    assert "no effect" in said[2]


def test_the_lean_path(tokenizer: BertTokenizer):
    one = tokenizer.encode_batch(["a b c", "d"])
    assert [encoding.ids for encoding in one] == tokenizer(["a b c", "d"]).input_ids
    two = tokenizer.encode_batch(["a b c d"], ["e f"], max_length=7)
    assert two[0].ids == tokenizer("a b c d", "e f", max_length=7).input_ids
    lean = tokenizer.encode_batch(["a b c"], offsets=False)
    assert lean[0].ids == one[0].ids
    with pytest.raises(TypeError, match="text 1 of 2 is NoneType"):
        tokenizer.encode_batch(["a", None])  # pyright: ignore[reportArgumentType]  # the point


def test_frames_ids(tokenizer: BertTokenizer):
    tokenizer("a", max_length=2)  # what one call asks for is nothing to the next
    assert tokenizer.build_inputs_with_special_tokens([7, 8]) == [CLS, 7, 8, SEP]
    assert tokenizer.build_inputs_with_special_tokens([7], [8, 9]) == [CLS, 7, SEP, 8, 9, SEP]
    assert tokenizer.build_inputs_with_special_tokens([]) == [CLS, SEP]
    assert tokenizer.get_special_tokens_mask([7], [8, 9]) == [1, 0, 1, 0, 0, 1]
    mask = tokenizer.get_special_tokens_mask([CLS, 7, SEP, 0], already_has_special_tokens=True)
    assert mask == [1, 0, 1, 1]
    assert tokenizer.num_special_tokens_to_add() == 2
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3


def test_threads_with_different_lengths(tokenizer: BertTokenizer):
    """The Rust object has one truncation for all threads."""
    text = "a b c d e f g h . , ! the"
    plain = tokenizer(text).input_ids
    barrier = threading.Barrier(8)

    def run(number: int) -> list[tuple[int, list[int]]]:
        barrier.wait()
        found: list[tuple[int, list[int]]] = []
        for step in range(300):
            length = 3 + (number + step) % 9
            if step % 5 == 0:
                found.append((len(plain), tokenizer(text).input_ids))
            else:
                found.append((length, tokenizer([text], max_length=length).input_ids[0]))
            assert tokenizer.decode([CLS, 13]) == "[CLS] a"
            tokenizer.convert_ids_to_tokens(plain)
            tokenizer.convert_tokens_to_ids(["a"])
        return found

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(run, range(8)):
            for length, row in found:
                wanted = plain if length == len(plain) else [*plain[: length - 1], SEP]
                assert row == wanted


def test_pickles_and_copies(tokenizer: BertTokenizer):
    tokenizer.add_special_tokens({"extra_special_tokens": ["<e>"]})
    tokenizer.padding_side = "left"
    tokenizer("a b c d", max_length=3)
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert type(other) is BertTokenizer
        assert other.padding_side == "left"
        assert other.all_special_tokens == tokenizer.all_special_tokens
        assert other("a b c d <e>") == tokenizer("a b c d <e>")
        other.add_tokens(["new"])
        assert len(other) == len(tokenizer) + 1


def test_works_in_data_loader_workers(tokenizer: BertTokenizer):
    texts: Any = ["a", "b c", "d"]
    loader: Any = torch.utils.data.DataLoader(
        texts,
        batch_size=2,
        num_workers=1,
        collate_fn=tokenizer,
        persistent_workers=False,
    )
    assert [batch.input_ids for batch in loader] == [
        [[CLS, 13, SEP], [CLS, 14, 15, SEP]],
        [[CLS, 16, SEP]],
    ]


def test_importing_needs_no_torch():
    code = "import sys, regard.text; print('torch' in sys.modules, 'transformers' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_the_name_of_the_field():
    assert PreTrainedTokenizerFast is Tokenizer
    path = find_checkpoint(MINILM).path("tokenizer.json")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=path, unk_token="[UNK]")
    again = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    assert tokenizer("a fox").input_ids == again("a fox").input_ids
    with pytest.raises(TypeError, match="either tokenizer_file or tokenizer_object"):
        PreTrainedTokenizerFast()
    with pytest.raises(TypeError, match="did you mean 'pad_token'"):
        PreTrainedTokenizerFast(path, padtoken="[PAD]")
