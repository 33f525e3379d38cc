"""Tiny random models that write, with tokenizers that were learned on the spot."""

import torch

import regard

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It barks, and the fox is gone.",
    "Zwei Hunde laufen durch den Wald! Were they seen? Nobody knows.",
] * 3
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 96,
    "initializer_range": 0.4,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def decoder():
    torch.manual_seed(5)
    tokenizer = regard.train_tokenizer(TEXTS, "gpt2", 300, min_frequency=1)
    tokenizer.chat_template = TEMPLATE
    model = regard.GPT2LMHeadModel(regard.GPT2Config(vocab_size=len(tokenizer), **SIZES))
    # Random bytes would be no characters, and come in one piece at the end.
    texts = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
    odd = [
        number for number, text in enumerate(texts) if not text.isprintable() or "\ufffd" in text
    ]
    model.generation_config = model.generation_config.replace(suppress_tokens=odd)
    return model.double().eval(), tokenizer


def seq2seq(**options):
    torch.manual_seed(5)
    tokenizer = regard.train_tokenizer(TEXTS, "t5", 200, min_frequency=1, model_max_length=40)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_layers": 2, "num_heads": 2}
    names = {"d_model": 16, "d_ff": 24, "d_kv": 8}
    config = regard.T5Config.from_dict({"vocab_size": len(tokenizer), **names, **sizes, **options})
    model = regard.T5ForConditionalGeneration(config).double().eval()
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model, tokenizer
