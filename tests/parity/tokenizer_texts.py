"""Texts in many scripts and the vocabularies that are trained on them, for the tokenizers' parity.

The sentences are the beginning of the Universal Declaration of Human Rights, article 1.
"""

import io
import random
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

#: One per line, in as many languages.
SENTENCES = Path(__file__).with_name("tokenizer_sentences.txt").read_text("utf-8").splitlines()
ODDITIES = [
    "",
    " ",
    "  two  spaces   and three ",
    "tab\tnew\nline\r\nend\n",
    "don't can't I'll they've we're it's I'm he'd 'tis",
    "<s> literal </s> <pad> <unk> <mask>. <extra_id_0> <extra_id_99> <|endoftext|> x",
    "a <mask>, b<mask>c  <mask>  d",
    "<0x41> <0x0A> ▁ ▁▁x Ġ Ċ",
    "🙂👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈 emoji 🇩🇪 ok",
    "zero\u200bwidth\u200djoin\ufeffbom soft\u00adhyphen",
    "ctrl\x00\x01\x07\x1b\x7f\x80\x9f\ufffd end",
    "\u2028line\u2029para\u0085next\u00a0nbsp\u3000wide",
    "naïve e\u0301 I\u0307 İ ß ẞ ﬁ ½ ① Ⅷ ｶﾀｶﾅ ﷺ 𠀀𪜶 𝔘𝔫𝔦",
    "def f(x):\n    return x  # 3.14 1,000,000 $5 50% a_b c-d http://x.org/?q=1&r=2 #tag @me",
    "x" * 120,
    "\U0010ffff\ue000 private",
]
MARKS = [
    "<s>",
    "</s>",
    "<mask>",
    "<unk>",
    "<extra_id_7>",
    "▁",
    "Ġ",
    "\u0301",
    "\u200d",
    "🙂",
    "\x00",
]


def real_texts(count: int) -> list[str]:
    """Return `count` texts: parts of the sentences and oddities, and any characters, mixed."""
    choose = random.Random(7)
    found = [*SENTENCES, *ODDITIES]
    while len(found) < count:
        parts: list[str] = []
        for _ in range(choose.randint(1, 4)):
            source = choose.choice([*SENTENCES, *SENTENCES, *ODDITIES])
            start = choose.randint(0, max(len(source) - 1, 0))
            parts.append(source[start : start + choose.randint(1, 60)])
            parts.append(choose.choice(["", " ", "  ", "\n", choose.choice(MARKS)]))
            parts.append("".join(_any(choose) for _ in range(choose.choice([0, 0, 3]))))
        found.append("".join(parts))
    return found


def _any(choose: random.Random) -> str:
    number = choose.choice([choose.randrange(0x3000), choose.randrange(0x110000)])
    return "\ufffd" if 0xD800 <= number < 0xE000 else chr(number)


def train_byte_level(folder: Path, special: list[str]) -> Path:
    """Write vocab.json and merges.txt of a byte-level BPE into `folder`."""
    rust = RustTokenizer(BPE())
    rust.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=900,
        special_tokens=special,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    rust.train_from_iterator(SENTENCES * 3, trainer)
    folder.mkdir(parents=True)
    rust.model.save(str(folder))
    return folder


def train_pieces(path: Path, **options: Any) -> Path:
    """Write a SentencePiece model to `path`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*SENTENCES * 3, *ODDITIES[4:5]]),
        model_writer=model,
        minloglevel=2,
        **{"vocab_size": 900, "hard_vocab_limit": False, "character_coverage": 0.995, **options},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return path
