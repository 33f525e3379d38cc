"""What models write for a task, and the recipe that trains a translator."""

import gzip
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

import regard
from regard.data.examples import Examples
from regard.text.pieces import CONTROL, NORMAL, UNKNOWN, Piece, PieceModel
from regard.training.job import make_trainer
from regard.training.tasks.registry import task_class

LINES = {
    "en": ["a man is in the street", "a dog is in the water", "a woman is in the street"],
    "de": [
        "ein mann geht auf der straße",
        "ein hund schwimmt im wasser",
        "eine frau geht auf der straße",
    ],
}


@pytest.fixture
def many_languages():
    """A tiny mBART and its tokenizer."""
    first = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
    pieces = [Piece(text, 0.0, kind) for text, kind in (*first, *((p, NORMAL) for p in "▁ab"))]
    model = PieceModel(
        pieces, "unigram", byte_fallback=False, dummy_prefix=True, collapse=False, table=b""
    )
    tokenizer = regard.MBartTokenizer(model)
    config = regard.MBartConfig(
        vocab_size=len(tokenizer),
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=16,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids("en_XX"),
    )
    torch.manual_seed(0)
    return regard.MBartForConditionalGeneration(config).eval(), tokenizer


def test_a_translation_begins_with_the_language_that_is_asked_for(many_languages, tmp_path):
    model, tokenizer = many_languages
    task = task_class("translation")(
        source_language="en_XX", target_language="ro_RO", max_new_tokens=3
    )
    tokenizer.src_lang, tokenizer.tgt_lang = "en_XX", "ro_RO"
    romanian = tokenizer.convert_tokens_to_ids("ro_RO")
    assert task.writing(tokenizer)["decoder_start_token_id"] == romanian
    asked = []
    generate = model.generate

    def watched(**options):
        asked.append(generate(**options))
        return asked[-1]

    model.generate = watched
    data = task.prepare(Examples({"text": ["a b", "b"]}), tokenizer, model.config)
    args = regard.TrainingArguments(tmp_path, report_to="none", disable_tqdm=True, use_cpu=True)
    rows = task.predict(make_trainer(task, model, tokenizer, args, None), data)
    assert len(rows) == 2
    assert asked[0][:, 0].tolist() == [romanian] * 2
    # What stands before the text is forced, where a tokenizer puts the language there.

    class LanguageFirst:
        def convert_tokens_to_ids(self, token):
            return 7

        def __call__(self, text_target):
            return {"input_ids": [7, 2]}

    assert task.writing(LanguageFirst())["forced_bos_token_id"] == 7


def test_a_missing_package_is_missed_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(regard.ConfigError, match="pip install sacrebleu"):
        task_class("translation")().metric(None, None)


def test_the_recipe_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "multi30k").mkdir()
    for language, lines in LINES.items():
        for part, times in (("train", 8), ("val", 1)):
            with gzip.open(
                tmp_path / "multi30k" / f"{part}.{language}.gz", "wt", encoding="utf-8"
            ) as file:
                file.write("\n".join(lines * times) + "\n")
    recipe = Path(__file__).parents[4] / "recipes" / "multi30k.py"
    sizes = {"--vocabulary": 320, "--layers": 1, "--width": 16, "--heads": 2, "--epochs": 2}
    given = [
        "--data",
        tmp_path,
        "--output",
        tmp_path / "out",
        *(x for p in sizes.items() for x in p),
    ]
    monkeypatch.setattr(sys, "argv", [str(recipe), *map(str, given)])
    runpy.run_path(str(recipe), run_name="__main__")
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert 0 <= result["metrics"]["eval_bleu"] <= 100
    assert result["steps"] == 2
    row = capsys.readouterr().out.splitlines()[-1].split("|")
    assert row[6].strip() == f"{result['metrics']['eval_bleu']:.2f}"
