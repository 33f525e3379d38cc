"""What the parity tests of decoder-only families share beside `Parity`."""

from .reference import Parity

TASKS = (
    "Model",
    "ForCausalLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
SIZES = {
    "vocab_size": 99,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "use_cache": False,
}


class DecoderParity(Parity):
    """The checks of one decoder-only family."""

    tasks = TASKS
    sizes = SIZES

    def inputs(self, task, config, *, ragged):
        """Return inputs with padding where the mask hides: the reference looks for it by id."""
        batch = super().inputs(task, config, ragged=ragged)
        hidden = batch["attention_mask"] == 0
        return batch | {"input_ids": batch["input_ids"].masked_fill(hidden, config.pad_token_id)}
