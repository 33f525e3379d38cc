"""Translations, with models and small real vocabularies of the reference's own making."""

import json
import warnings

import pytest
import sentencepiece
import torch
import transformers

import regard

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "she sells sea shells by the sea shore",
    "le renard brun saute par-dessus le chien paresseux",
    "der schnelle braune Fuchs springt über den faulen Hund",
]
ASKED = ["the fox jumps over the sea", "der Hund", "she sells a lazy dog, the quick one"]
NEW = 12
SEED = 2  # of models whose texts vary
SIDES = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 64,
    "forced_eos_token_id": None,
    "init_std": 0.1,
    "tie_word_embeddings": False,  # with the words themselves as scores, texts repeat one word
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
PAIR = {"prefix": "translate English to German: ", "max_length": NEW + 1}


def train(path, **options):
    """Learn a SentencePiece model."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 9),
        model_prefix=str(path.with_suffix("")),
        minloglevel=2,
        vocab_size=90,
        hard_vocab_limit=False,
        **options,
    )
    path.with_suffix(".model").rename(path)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def write_marian(folder, codes=()):
    numbers = {"</s>": 0, "<unk>": 1}
    for name in ("source.spm", "target.spm"):
        pieces = train(folder / name, eos_id=0, unk_id=1, bos_id=-1)
        for number in range(pieces.get_piece_size()):
            numbers.setdefault(pieces.id_to_piece(number), len(numbers))
    for token in (*codes, "<pad>"):
        numbers[token] = len(numbers)
    (folder / "vocab.json").write_text(json.dumps(numbers))
    kind = {"tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))
    last = numbers["<pad>"]
    return save(
        transformers.MarianMTModel,
        transformers.MarianConfig(
            **SIDES,
            vocab_size=len(numbers),
            pad_token_id=last,
            eos_token_id=0,
            decoder_start_token_id=last,
        ),
        folder,
    )


def write_mbart(folder, kind):
    train(folder / "sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    words = len(their_tokenizer(kind, folder))
    # mBART-50 begins with the end token; mBART-25 with that of the language.
    config = transformers.MBartConfig(**SIDES, vocab_size=words, decoder_start_token_id=2)
    return save(transformers.MBartForConditionalGeneration, config, folder)


def write_t5(folder):
    train(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    words = len(their_tokenizer("T5Tokenizer", folder))
    config = transformers.T5Config(
        **T5, vocab_size=words, decoder_start_token_id=0, initializer_factor=3.0
    )
    config.task_specific_params = {"translation_en_to_de": PAIR}
    return save(transformers.T5ForConditionalGeneration, config, folder)


def save(kind, config, folder):
    torch.manual_seed(SEED)
    model = kind(config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:  # Marian's positions are none
            parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    return model


def their_tokenizer(kind, folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like another package that nothing here needs
        return getattr(transformers, kind).from_pretrained(folder, **options)


def expected(model, tokenizer, texts, **options):
    """Return what the reference writes for each text by itself."""
    found = []
    for text in texts:
        rows = tokenizer([text], return_tensors="pt")
        ids = model.generate(
            rows["input_ids"],
            attention_mask=rows["attention_mask"],
            do_sample=False,
            **{"max_new_tokens": NEW, "num_beams": 1, **options},
        )
        found.append(tokenizer.decode(ids[0], skip_special_tokens=True).strip())
    assert len({*found}) > 1, "this model tests nothing"
    return found


def written(pipe, texts, **options):
    return [each["translation_text"] for each in pipe(texts, **options)]


def test_marian_of_one_pair(tmp_path):
    theirs = write_marian(tmp_path)
    wanted = expected(theirs, their_tokenizer("MarianTokenizer", tmp_path), ASKED)
    for task in ("translation", "translation_en_to_de"):
        pipe = regard.pipeline(task, tmp_path)
        assert written(pipe, ASKED, max_new_tokens=NEW) == wanted


def test_marian_of_several_languages(tmp_path):
    theirs = write_marian(tmp_path, [">>fra<<", ">>deu<<"])
    tokenizer = their_tokenizer("MarianTokenizer", tmp_path)
    by_language = {}
    for code in ("fra", "deu"):
        told = [f">>{code}<< {text}" for text in ASKED]
        by_language[code] = expected(theirs, tokenizer, told)
        pipe = regard.pipeline("translation", tmp_path, tgt_lang=code)
        assert written(pipe, ASKED, max_new_tokens=NEW) == by_language[code]
    assert by_language["fra"] != by_language["deu"]
    other = written(pipe, ASKED, tgt_lang="fra", max_new_tokens=NEW)
    assert other == by_language["fra"]
    with pytest.raises(ValueError, match="tgt_lang='ita' is no language of this model"):
        pipe("the fox", tgt_lang="ita")


@pytest.mark.parametrize("kind", ["MBartTokenizer", "MBart50Tokenizer"])
def test_mbart(tmp_path, kind):
    theirs = write_mbart(tmp_path, kind)
    tokenizer = their_tokenizer(kind, tmp_path, src_lang="de_DE")
    number = tokenizer.convert_tokens_to_ids("fr_XX")
    name = "forced_bos_token_id" if kind == "MBart50Tokenizer" else "decoder_start_token_id"
    wanted = expected(theirs, tokenizer, ASKED, **{name: number})
    options = {"max_new_tokens": NEW}
    pipe = regard.pipeline("translation", tmp_path, src_lang="de_DE", tgt_lang="fr_XX")
    assert written(pipe, ASKED, **options) == wanted
    assert written(regard.pipeline("translation_de_to_fr", tmp_path), ASKED, **options) == wanted
    assert written(pipe, ASKED, src_lang="ro", tgt_lang="it", **options) != wanted
    with pytest.raises(ValueError, match="src_lang='xx' is no language of this model"):
        pipe("the fox", src_lang="xx")
    with pytest.raises(ValueError, match="tgt_lang='klingon' is no language of this model"):
        regard.pipeline("translation_de_to_klingon", tmp_path)("the fox")
    with pytest.raises(ValueError, match="pass tgt_lang"):
        regard.pipeline("translation", tmp_path)("the fox")


def test_t5(tmp_path):
    theirs = write_t5(tmp_path)
    told = [PAIR["prefix"] + text for text in ASKED]
    wanted = expected(theirs, their_tokenizer("T5Tokenizer", tmp_path), told)
    pipe = regard.pipeline("translation_en_to_de", tmp_path)
    assert written(pipe, ASKED) == wanted
    with pytest.raises(ValueError, match="no task 'translation_de_to_en'"):
        regard.pipeline("translation_de_to_en", tmp_path)("der Hund")
