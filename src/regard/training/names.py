"""Names of training arguments that other versions of the field use, and what they are here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from regard.errors import ConfigError, nearest

#: Another name for the same setting.
ALIASES: Mapping[str, str] = {
    "evaluation_strategy": "eval_strategy",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "no_cuda": "use_cpu",
    "activation_checkpointing": "gradient_checkpointing",
}


#: How a model can be sharded: parameters and all (ZeRO 3), or what the optimiser has (ZeRO 2).
SHARDINGS = ("full_shard", "shard_grad_op")


def sharding(given: Any) -> str:
    """Return how ``fsdp`` says to shard: given True, a text of several words, or a list of them."""
    told = "full_shard" if given is True else given or ""
    words = told.split() if isinstance(told, str) else [str(word) for word in told]
    words = [word for word in words if word != "auto_wrap"]  # layers are found by themselves
    if len(words) > 1 or not {*words} <= {*SHARDINGS}:
        wrong = next((word for word in words if word not in SHARDINGS), "")
        raise ConfigError(
            f"fsdp is {given!r}{nearest(wrong, SHARDINGS)}; it must be one of "
            f"{', '.join(SHARDINGS)}, True or False"
        )
    return words[0] if words else ""


def _when(setting: str, value: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda given: {setting: value} if given else {}


#: Settings that are said otherwise today.
TRANSLATED: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "group_by_length": _when("train_sampling_strategy", "group_by_length"),
    "adafactor": _when("optim", "adafactor"),
    "evaluate_during_training": _when("eval_strategy", "steps"),
    "include_inputs_for_metrics": _when("include_for_metrics", ["inputs"]),
}


@dataclass(frozen=True)
class NoEffect:
    """A setting of the field that changes nothing here.

    Attributes:
        harmless: Values that ask for what happens anyway; None when every value does.
        instead: What to do for any other value.
    """

    harmless: tuple[Any, ...] | None
    instead: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise `ConfigError` for a value that asks for what does not happen."""
        if self.harmless is not None and value not in self.harmless:
            raise ConfigError(f"{name}={value!r} is not implemented; {self.instead}")


_OFF = (None, False, "", 0, -1, "no")
_HUB = NoEffect(_OFF, "train, then upload the saved folder with `hf upload`")
_PARALLEL = NoEffect(
    _OFF,
    "several processes are `torchrun`, each with the whole model (DDP) or a part of it (fsdp)",
)
_ANY = NoEffect(None)

NO_EFFECT: Mapping[str, NoEffect] = {
    "push_to_hub": _HUB,
    "hub_always_push": _HUB,
    "hub_token": _ANY,
    "hub_model_id": _ANY,
    "hub_private_repo": _ANY,
    "hub_strategy": _ANY,
    "hub_revision": _ANY,
    "deepspeed": _PARALLEL,
    "sharded_ddp": _PARALLEL,
    "fsdp_config": NoEffect((*_OFF, {}), "layers are found by themselves"),
    "tpu_num_cores": _PARALLEL,
    "accelerator_config": NoEffect((None,), "its settings are arguments here"),
    "parallelism_config": _PARALLEL,
    "mp_parameters": _PARALLEL,
    "local_rank": _ANY,  # torchrun says it in the environment
    "save_safetensors": NoEffect((True, None), "weights are always safetensors"),
    "average_tokens_across_devices": NoEffect((True, None), "the loss always counts all processes"),
    "logging_nan_inf_filter": _ANY,  # a loss that is not finite stops the run
    "log_level": _ANY,
    "log_level_replica": _ANY,
    "log_on_each_node": _ANY,
    "use_cache": _ANY,
    "fp16_opt_level": _ANY,
    "fp16_backend": _ANY,
    "half_precision_backend": _ANY,
    "gradient_checkpointing_kwargs": _ANY,
    "activation_checkpointing_kwargs": _ANY,
    "skip_memory_metrics": _ANY,
    "eval_accumulation_steps": _ANY,  # predictions are moved to the processor at each step
    "eval_do_concat_batches": NoEffect((True, None), "predictions are always joined"),
    "eval_use_gather_object": NoEffect(_OFF, "predictions are tensors"),
    "batch_eval_metrics": NoEffect(_OFF, "compute_metrics sees all predictions at once"),
    "dataloader_persistent_workers": _ANY,
    "dataloader_prefetch_factor": _ANY,
    "dataloader_multiprocessing_context": _ANY,
    "dataloader_in_order": NoEffect((True, None), "batches always come in order"),
    "dispatch_batches": _ANY,
    "split_batches": NoEffect(_OFF, "batch sizes are those of one process"),
    "ignore_data_skip": NoEffect(_OFF, "a resumed run goes on where it stopped"),
    "restore_callback_states_from_checkpoint": _ANY,
    "ddp_bucket_cap_mb": _ANY,
    "ddp_broadcast_buffers": _ANY,
    "ddp_static_graph": _ANY,
    "torch_empty_cache_steps": _ANY,
    "auto_find_batch_size": NoEffect(_OFF, "use per_device_train_tokens"),
    "neftune_noise_alpha": NoEffect(_OFF, "leave it out"),
    "use_liger_kernel": NoEffect(_OFF, "leave it out"),
    "liger_kernel_config": _ANY,
    "optim_target_modules": NoEffect(_OFF, "leave it out"),
    "include_num_input_tokens_seen": _ANY,  # always counted
    "include_tokens_per_second": _ANY,
    "debug": NoEffect((*_OFF, []), "leave it out"),
    "past_index": NoEffect(_OFF, "leave it out"),
    "project": _ANY,
    "trackio_space_id": _ANY,
    "trackio_bucket_id": _ANY,
    "trackio_static_space_id": _ANY,
    "save_on_each_node": _ANY,
    "enable_jit_checkpoint": _ANY,  # a signal to end always saves
    "use_legacy_prediction_loop": _ANY,
    "use_ipex": _ANY,
    "use_mps_device": _ANY,
    "jit_mode_eval": _ANY,
    "xpu_backend": _ANY,
    "ray_scope": _ANY,
    "torchdynamo": NoEffect(_OFF, "use torch_compile"),
}
