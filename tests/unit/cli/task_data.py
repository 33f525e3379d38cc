"""A tiny checkpoint and tiny files for each task; every answer can be learned from the words."""

import json

import torch

from regard.models.bart import BartConfig, BartModel
from regard.models.bert import BertConfig, BertModel
from regard.models.gpt2 import GPT2Config, GPT2Model
from regard.models.vit import ViTConfig, ViTModel
from regard.text import BertTokenizer

WORDS = [
    *("good", "bad", "film", "is", "the", "was", "in", "where", "ann", "bob"),
    *("rome", "oslo", "sees", "red", "blue", ",", ".", "?"),
]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TEXTS = ("the film is {}", "{} film .", "the {} film was in rome", "is the film {} ?")


def tokenizer():
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*WORDS, *letters, *(f"##{letter}" for letter in letters)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    return BertTokenizer({token: number for number, token in enumerate(tokens)})


def save_bert(folder, **changes):
    pieces = tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), max_position_embeddings=48, **SIZES, initializer_range=0.1
    )
    BertModel(config.replace(**changes)).save_pretrained(folder)
    pieces.save_pretrained(folder)
    return folder


def save_bart(folder):
    pieces = tokenizer()
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(pieces),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        dropout=0.0,
        init_std=0.2,
        max_position_embeddings=48,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
    )
    BartModel(config).save_pretrained(folder)
    pieces.save_pretrained(folder)
    return folder


def save_gpt2(folder):
    """Save a decoder whose tokenizer knows no padding."""
    pieces = tokenizer()
    pieces.pad_token, pieces.eos_token = None, "[SEP]"
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 48}
    config = GPT2Config(vocab_size=len(pieces), bos_token_id=2, eos_token_id=3, **sizes)
    GPT2Model(config).save_pretrained(folder)
    pieces.save_pretrained(folder)
    return folder


def save_vit(folder):
    from regard.images.processor import ImageProcessor

    torch.manual_seed(0)
    ViTModel(ViTConfig(image_size=8, patch_size=4, **SIZES)).save_pretrained(folder)
    ImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def write_tsv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sentiments(count):
    return [
        (TEXTS[i // 2 % 4].format(("good", "bad")[i % 2]), ("positive", "negative")[i % 2])
        for i in range(count)
    ]


def classification(path, count):
    return write_tsv(path / "data.tsv", ("text", "label"), sentiments(count))


def pairs(path, count):
    """The second sentence says the label, whatever the first does."""
    rows = [
        (f"ann is {a}", f"bob is {b}", b.upper())
        for i in range(count)
        for a, b in [(("good", "bad")[i % 2], ("good", "bad")[i // 2 % 2])]
    ]
    return write_tsv(path / "data.tsv", ("sentence1", "sentence2", "label"), rows)


def several(path, count):
    rows = [
        {"text": f"the film is {' '.join(words) or 'red'}", "labels": [w.upper() for w in words]}
        for i in range(count)
        for words in [[w for w, bit in (("good", 1), ("bad", 2)) if i & bit]]
    ]
    return write_jsonl(path / "data.jsonl", rows)


def regression(path, count):
    rows = [(text, 4.5 if label == "positive" else 1.5) for text, label in sentiments(count)]
    return write_tsv(path / "data.tsv", ("text", "score"), rows)


def names(path, count):
    people, places = ("ann", "bob"), ("rome", "oslo")
    sentences = [
        f"{people[i % 2]} B-PER\nis O\nin O\nthe B-LOC\n{places[i // 2 % 2]} I-LOC\n. O\n"
        for i in range(count)
    ]
    path.mkdir(parents=True, exist_ok=True)
    (path / "data.conll").write_text("\n".join(sentences))
    return path / "data.conll"


def roles(path, count):
    sentences = []
    for i in range(count):
        who, whom = [("ann", "bob"), ("bob", "ann")][i % 2]
        place = ("rome", "oslo")[i // 2 % 2]
        rows = [
            (who, "_", "ARG0", "_"),
            ("sees", "see.01", "V", "_"),
            (whom, "_", "ARG1", "ARG1"),
            ("is", "be.01", "_", "V"),
            ("in", "_", "_", "_"),
            (place, "_", "_", "ARG2"),
        ]
        lines = [
            "\t".join([str(n), word, *["_"] * 4, "0", "_", "_", "_", *more])
            for n, (word, *more) in enumerate(rows, 1)
        ]
        sentences.append("\n".join([f"# sent_id = s{i}", *lines]))
    path.mkdir(parents=True, exist_ok=True)
    (path / "data.conllu").write_text("\n\n".join(sentences) + "\n\n")
    return path / "data.conllu"


def questions(path, count):
    paragraphs = []
    for i in range(count):
        place, other = [("rome", "oslo"), ("oslo", "rome")][i % 2]
        context = (
            f"ann is in {place} . bob was in {other} . the film is {('red', 'blue')[i // 2 % 2]}"
        )
        answers = [{"text": place, "answer_start": context.index(place)}]
        qas = [{"id": f"q{i}", "question": "where is ann ?", "answers": answers}]
        paragraphs.append({"context": context, "qas": qas})
    path.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]})
    (path / "data.json").write_text(text)
    return path / "data.json"


def choices(path, count):
    rows = [
        {"text": "the film is", "choices": ["good", "bad"][:: 1 - 2 * (i % 2)], "label": i % 2}
        for i in range(count)
    ]
    return write_jsonl(path / "data.jsonl", rows)


def parallel(path, count):
    rows = [("ann is in rome", "red film"), ("bob is in oslo", "blue film")]
    path.mkdir(parents=True, exist_ok=True)
    for place, language in enumerate(("aa", "bb")):
        for part, size in (("train", count), ("validation", 4)):
            lines = "".join(rows[i % 2][place] + "\n" for i in range(size))
            (path / f"{part}.{language}").write_text(lines)
    return path


def summaries(path, count):
    rows = [
        {"document": f"the film is {word} . ann sees the film .", "summary": f"{word} film"}
        for i in range(count)
        for word in [("good", "bad")[i % 2]]
    ]
    return write_jsonl(path / "data.jsonl", rows)


def pictures(path, count):
    from PIL import Image

    for i in range(count):
        name, colour = (("dark", 20 + i), ("light", 220 - i))[i % 2]
        (path / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (colour, colour, colour)).save(path / name / f"{i}.png")
    return path


def train(checkpoint, data, output, task="text-classification", **more):
    """Train a model for a task, as `regard train` does; return its folder."""
    from regard.training.job import open_run
    from regard.training.settings import read_settings

    told = {"epochs": 8, "learning_rate": 3e-3, "batch_size": 8, "validation_split": 0.0, **more}
    told |= {"task": task, "data": str(data), "model": str(checkpoint), "output_dir": str(output)}
    open_run(read_settings({**told, "report_to": "none", "disable_tqdm": True})).train()
    return output
