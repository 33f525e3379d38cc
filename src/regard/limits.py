"""What the numbers of a configuration may be."""

from collections.abc import Mapping

#: Probabilities of dropping something, by the names that families have for them.
RATES = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    *("attention_dropout", "embd_pdrop", "qa_dropout", "seq_classif_dropout"),
    *("summary_first_dropout", "summary_last_dropout", "embedding_dropout", "mlp_dropout"),
    *("activation_dropout", "encoder_layerdrop", "decoder_layerdrop"),
)

_TOKENS = ("pad", "bos", "eos", "cls", "sep", "decoder_start")

#: Smallest and largest value of the sizes that every family spells the same way. The upper bounds
#: only catch damage: a layer count of 10**9 would otherwise build for hours before it
#: fails.
LIMITS: Mapping[str, tuple[float, float]] = {
    "vocab_size": (1, 2**31),
    "hidden_size": (1, 2**20),
    "embedding_size": (1, 2**20),
    "num_hidden_layers": (0, 1_000),
    "num_decoder_layers": (0, 1_000),
    "num_attention_heads": (1, 2**16),
    "decoder_attention_heads": (1, 2**16),
    "num_key_value_heads": (1, 2**16),
    "head_dim": (1, 2**16),
    "intermediate_size": (1, 2**24),
    "decoder_ffn_dim": (1, 2**24),
    "decoder_vocab_size": (1, 2**31),
    "relative_attention_num_buckets": (1, 2**20),
    "relative_attention_max_distance": (1, 2**31),
    "initializer_factor": (0, 100),
    "pooler_output_size": (1, 2**20),
    "max_position_embeddings": (1, 2**31),
    "type_vocab_size": (0, 2**20),
    "num_channels": (1, 2**12),
    "encoder_stride": (1, 2**12),
    "sliding_window": (1, 2**31),
    "max_window_layers": (0, 2**31),
    "local_attention": (0, 2**31),
    "global_attn_every_n_layers": (1, 1_000),
    **dict.fromkeys(("rope_theta", "global_rope_theta", "local_rope_theta"), (1.01, 1e12)),
    "initializer_range": (0, 100),
    "num_labels": (0, 2**20),
    **dict.fromkeys(("layer_norm_eps", "rms_norm_eps", "norm_eps"), (0, 1)),
    **{f"{name}_token_id": (0, 2**31) for name in _TOKENS},
    **dict.fromkeys(RATES, (0, 1)),
}
