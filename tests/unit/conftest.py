"""What tests over every family share."""

import pytest

#: Sizes that fit every family; a family takes those that it knows.
SIZES = {
    "vocab_size": 31,
    "hidden_size": 16,
    "embedding_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_decoder_layers": 3,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 24,
    "decoder_start_token_id": 2,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "image_size": 12,
    "patch_size": 4,
    # Its defaults would lie outside the vocabulary.
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


@pytest.fixture(scope="session")
def tiny_config():
    """Return a small configuration of a family by its name; options replace its fields."""
    from regard.models.auto import family

    def make(name, **options):
        kind = family(name).config
        known = {*kind.argument_names()}
        return kind(
            **{field: value for field, value in (SIZES | options).items() if field in known}
        )

    return make
