"""`LoraConfig`: which parts of a model an adapter changes, in the words of adapter_config.json."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from regard.errors import ConfigError, nearest

#: The map of this name over all linear maps of a model but its scores.
ALL_LINEAR = "all-linear"

#: Task -> names of the heads that are trained whole and saved with the adapter.
TASK_HEADS: Mapping[str, tuple[str, ...]] = {
    "SEQ_CLS": ("classifier", "score"),
    "TOKEN_CLS": ("classifier", "score"),
    "QUESTION_ANS": ("qa_outputs",),
    "CAUSAL_LM": (),
    "SEQ_2_SEQ_LM": (),
    "FEATURE_EXTRACTION": (),
}

#: Fields of the format that say nothing about numbers here.
_ANY = {
    *("auto_mapping", "inference_mode", "megatron_core", "peft_version", "qalora_group_size"),
    "runtime_config",
}

_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", "all", "lora_only"),
    "init_lora_weights": (True, False, "gaussian"),
    "task_type": (None, *TASK_HEADS),
}


@dataclasses.dataclass(init=False)
class LoraConfig:
    """The settings of a low-rank adapter (Hu et al. 2021, section 4.1), under the field's names.

    Names of modules are those of the files, as in the reference's models: ``["query", "value"]`` of
    a BERT, ``["c_attn"]`` of a GPT-2. A name stands for all paths that end with it.

    Attributes:
        r: Rank of the change.
        lora_alpha: Scale of the change, times `r`.
        lora_dropout: Probability of dropping an element of what the change reads, in training.
        target_modules: Names of linear maps, or one regular expression over whole paths, or
            ``"all-linear"``; by default the projections to queries and values.
        bias: Which biases train too: ``"none"``, ``"all"``, or those of the target modules
            (``"lora_only"``).
        use_rslora: Divide the scale by the root of the rank (Kalajdzievski 2023).
        modules_to_save: Names of modules that train whole; the heads that `task_type` stands for
            are among them.
        layers_to_transform: Numbers of the layers to change; by default all.
        layers_pattern: What the list of layers is called, if not its first numbered name.
        init_lora_weights: True starts without a change, A as a linear map starts (He et al. 2015);
            ``"gaussian"`` the same with a normal A; False starts with a random change.
        fan_in_fan_out: Whether the files hold those matrices turned; found out by itself.
        task_type: What the model is for, such as ``"SEQ_CLS"`` or ``"CAUSAL_LM"``.
        base_model_name_or_path: The model that the adapter belongs to.
        revision: Its revision on the Hub.
        peft_type: Kind of adapter.

    Raises:
        ConfigError: A field that is unknown or asks for what is not implemented.
    """

    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: list[str] | str | None = None
    bias: str = "none"
    use_rslora: bool = False
    modules_to_save: list[str] | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    init_lora_weights: bool | str = True
    fan_in_fan_out: bool = False
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    peft_type: str = "LORA"

    def __init__(self, **values: Any) -> None:
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        for name, value in values.items():
            # What is off asks for nothing, whatever it is.
            if name not in fields and name not in _ANY and value not in (None, False, 0, "", {}):
                raise ConfigError(
                    f"LoraConfig: {name}={value!r} is not implemented{nearest(name, fields)}; "
                    f"known are {', '.join(fields)}"
                )
        for name, default in fields.items():
            given = values.get(name)
            # Enumerations of the field's own libraries hold a string.
            setattr(self, name, default if given is None else getattr(given, "value", given))
        self._check()
        self.target_modules = _names(self.target_modules)
        saved = [*(self.modules_to_save or ()), *TASK_HEADS.get(self.task_type or "", ())]
        self.modules_to_save = [*dict.fromkeys(saved)] or None

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(
                    f"LoraConfig: {name}={value!r} is not implemented; it must be one of "
                    f"{', '.join(map(str, allowed))}"
                )
        if type(self.r) is not int or self.r < 1:
            raise ConfigError(f"LoraConfig: r={self.r!r}; the rank is a whole number from 1 on")
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(f"LoraConfig: lora_dropout={self.lora_dropout}; it is below 1")
        if isinstance(self.modules_to_save, str):
            raise ConfigError("LoraConfig: modules_to_save is a list of names")
        if self.layers_to_transform is not None and isinstance(self.target_modules, str):
            raise ConfigError("LoraConfig: layers_to_transform needs a list of target_modules")

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied by."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of adapter_config.json."""
        return dataclasses.asdict(self) | {"inference_mode": True}

    def is_target(self, path: str) -> bool:
        """Whether the linear map at `path`, a path in files, is changed."""
        if self.is_saved(f"{path}.weight"):
            return False
        targets = self.target_modules or ()
        if isinstance(targets, str):
            return re.fullmatch(targets, path) is not None
        return any(f".{path}".endswith(f".{name}") for name in targets) and self._layer_fits(path)

    def is_saved(self, tensor: str) -> bool:
        """Whether the tensor of that name in files lies in a module that trains whole."""
        above = [tensor[: match.start()] for match in re.finditer(r"\.", tensor)]
        return any(path.endswith(name) for path in above for name in self.modules_to_save or ())

    def _layer_fits(self, path: str) -> bool:
        wanted = self.layers_to_transform
        if wanted is None or wanted == []:
            return True
        patterns = _names(self.layers_pattern) or [r"[^.]+"]
        patterns = [patterns] if isinstance(patterns, str) else patterns
        # Only what has something before it counts as a list of layers, unless it is named.
        before = r"(?:^|\.)" if self.layers_pattern else r"\."
        found = (re.search(rf"{before}{pattern}\.(\d+)\.", path) for pattern in patterns)
        number = next((int(match[1]) for match in found if match), None)
        return number in ([wanted] if isinstance(wanted, int) else wanted)


def _names(given: Any) -> list[str] | str | None:
    """Return names as they were written, a set of them in order."""
    if given is None or isinstance(given, str):
        return given
    names: Iterable[str] = given
    return sorted(names) if isinstance(given, set | frozenset) else [*names]
