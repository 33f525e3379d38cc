"""`PreTrainedModel`: what every model can do, ours and yours (load, save, resize, count)."""

import contextvars
import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regard.adapters.adapter import attached
from regard.adapters.files import load_adapter, remove_adapter_files, save_adapters
from regard.attention.attention import ScaledDotProduct
from regard.attention.kernels import KERNELS
from regard.checkpoints.anatomy import Anatomy
from regard.checkpoints.files import CheckpointFolder, source_options
from regard.checkpoints.keymap import KeyTable
from regard.checkpoints.load import LoadRequest, load_weights
from regard.checkpoints.save import save_weights
from regard.config import Config
from regard.errors import ConfigError, nearest
from regard.layers.norms import RMSNorm
from regard.models.options import check_options, dtype_of, forward_arguments
from regard.models.origin import find_origin
from regard.models.vocabulary import bias_of, resized_embedding, resized_output

_Model = TypeVar("_Model", bound="PreTrainedModel")

#: True while `from_pretrained` builds a model: bases then get no memory before their weights come.
_loading: contextvars.ContextVar[bool] = contextvars.ContextVar("loading", default=False)


class _WithoutValues(TorchFunctionMode):
    """Skips random fills: on ``meta`` they do nothing, after importing a compiler for a second."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in ("normal_", "uniform_", "trunc_normal_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_memory() -> Generator[None]:
    """Build what is made in the block on ``meta`` while a checkpoint is loaded, else as always.

    For bases and the big parts of our heads, which `init_module` fills where a file lacks them.
    """
    with on_meta() if _loading.get() else nullcontext():
        yield


@contextmanager
def on_meta() -> Generator[None]:
    """Build what is made in the block on ``meta``: shapes and nothing else, whatever its size."""
    with torch.device("meta"), _WithoutValues():
        yield


class _Built(type):
    """Builds base models on ``meta`` during `from_pretrained`.

    Only bases: what stands around them (a head, the parts of your own subclass) may be missing in
    the file, and is built for real, as its constructor says.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        is_base = _loading.get() and cast("type[PreTrainedModel]", cls).is_base
        with without_memory() if is_base else nullcontext():
            return super().__call__(*args, **kwargs)


class PreTrainedModel(nn.Module, metaclass=_Built):
    """Base of every model. Subclass it, or a model, to make your own; it saves and loads like ours.

    A subclass builds its modules from `config` in its constructor, ends that with ``post_init()``,
    and defines ``forward`` with any inputs it likes.

    Attributes:
        config_class: The configuration that the model is built from.
        base_model_prefix: Attribute under which a model with a head holds its base model.
        keys: Names on disk of the tensors that this class itself adds, see `checkpoints.keymap`.
        aliases: Second names on disk, which count where they differ: second name -> first name.
        optional: Paths of what a file of this model may lack, or hold in vain (a pooler), and of
            buffers.
        is_base: Whether this is a family's base model, all of whose weights a file must have.
    """

    config_class: ClassVar[type[Config]] = Config
    base_model_prefix: ClassVar[str] = ""
    keys: ClassVar[KeyTable] = {}
    aliases: ClassVar[Mapping[str, str]] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    is_base: ClassVar[bool] = False

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise TypeError(
                f"{type(self).__name__} is built from a {self.config_class.__name__}; found "
                f"{type(config).__name__}. To load weights use {type(self).__name__}"
                ".from_pretrained(name)"
            )
        config.check()
        self.config = config
        self.name_or_path = ""

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        config: Config | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        strict: bool = True,
        ignore_mismatched_sizes: bool = False,
        attn_implementation: str | None = None,
        **options: Any,
    ) -> Self:
        """Load a model from a folder, an embedded package or the Hub, ready for inference.

        Args:
            name: A folder, GGUF file, or model name such as ``"google-bert/bert-base-uncased"``; of
                an adapter, which then comes with the base that it names.
            config: Replaces the checkpoint's own configuration.
            dtype: Such as ``torch.bfloat16`` or ``"float16"``; by default the checkpoint's own.
            revision: Branch, tag or commit on the Hub.
            strict: Refuse weights that do not fit exactly; False loads what fits.
            ignore_mismatched_sizes: Replace a head of another size by a new one. Giving
                ``num_labels``, ``id2label`` or ``label2id`` asks for the same.
            attn_implementation: Attention kernel, ``"sdpa"`` or ``"eager"``.
            options: Fields of the configuration to change (``num_labels=3``), arguments of the
                constructor (``add_pooling_layer=False``), and ``cache_dir``, ``local_files_only``,
                ``token`` and ``gguf_file`` as in `find_checkpoint`.

        Raises:
            CheckpointError: The weights are damaged or do not fit; names file and tensors.
            ConfigError: The configuration cannot be built.
            TypeError: An option that nothing knows; names the nearest one.
        """
        dtype = options.pop("torch_dtype", dtype)
        where: dict[str, Any] = source_options(options) | {"revision": revision}
        arguments = {k: options[k] for k in cls.constructor_options() if k in options}
        options = {k: v for k, v in options.items() if k not in where.keys() | arguments.keys()}
        relabelled = bool(options.keys() & {"num_labels", "id2label", "label2id"})
        origin = find_origin(name, where)
        check_options(cls.__name__, cls._known_options(), options)
        if config is None:
            config = cls.config_class.from_pretrained(origin.described, **where, **options)
        elif options:
            config = config.replace(**options)
        model = _build_for_loading(cls, name, config, arguments)
        request = LoadRequest(
            initialise=model._init_by_owner,
            dtype=dtype_of(dtype, config),
            strict=strict,
            reshape_head=ignore_mismatched_sizes or relabelled,
            comes_later=origin.comes_later,
        )
        if not load_weights(model, origin.weights, model.anatomy(), request):
            model.config.tie_word_embeddings = model._output_is_tied()
        if attn_implementation is not None:
            model.set_attn_implementation(attn_implementation)
        model.name_or_path = str(origin.base)
        model.read_beside(origin.weights)
        if origin.adapter is not None:
            load_adapter(model, origin.adapter)
        return model.eval()

    def read_beside(self, folder: CheckpointFolder) -> None:
        """Read what else the model wants of a checkpoint: nothing, for most."""

    @classmethod
    def constructor_options(cls) -> list[str]:
        """Return what the constructor takes beside the configuration."""
        return [*inspect.signature(cls.__init__).parameters][2:]

    @classmethod
    def _known_options(cls) -> list[str]:
        return [*cls.config_class.argument_names(), *cls.constructor_options()]

    def save_pretrained(
        self, folder: str | Path, *, max_shard_size: int | str = "5GB", state_dict: Any = None
    ) -> None:
        """Write config.json and the weights, or `state_dict`, as safetensors under usual names.

        Of a model with adapters those are written, and no base; see `save_adapters`.
        """
        if attached(self) is not None:
            save_adapters(self, folder)
        else:
            tied = self.config.tie_word_embeddings
            # A merged adapter may have changed the scores, and not the embeddings.
            self.config.tie_word_embeddings = tied and self._output_is_tied()
            # The reference ties second names only in models whose word matrix is tied.
            second = {} if self.config.tie_word_embeddings else dict(self.anatomy().aliases)
            save_weights(self, Path(folder), max_shard_size, second, state_dict)
            remove_adapter_files(folder)
        self.config.architectures = [type(self).__name__]
        self.config.dtype = str(self.dtype).removeprefix("torch.")
        self.config.save_pretrained(folder)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward``; an unknown argument is an error that names the nearest one.

        ``return_dict=False`` gives a tuple in place of a `ModelOutput`.
        """
        known, takes_any = forward_arguments(getattr(self.forward, "__func__", self.forward))
        as_tuple = "return_dict" not in known and kwargs.pop("return_dict", None) is False
        if not takes_any:
            for name in kwargs.keys() - known:
                raise TypeError(
                    f"{type(self).__name__} takes no argument {name!r}{nearest(name, known)}; "
                    f"it takes {', '.join(known)}"
                )
        output = super().__call__(*args, **kwargs)
        return output.to_tuple() if as_tuple else output

    def post_init(self) -> None:
        """Initialise what is new and tie what is tied; the last line of every constructor."""
        self.tie_weights()
        output = self.get_output_embeddings() if self.config.tie_word_embeddings else None
        seen = set[nn.Parameter]()
        for module in self.modules():
            # A base inside has done so already, by its own rules; a tied output is its embeddings;
            # what has no memory yet is filled when the checkpoint is read.
            done = getattr(module, "_initialised", False) or module is output
            own = {*module.parameters(recurse=False)}
            done, seen = done or (own and own <= seen), seen | own
            if not done and not any(p.is_meta for p in module.parameters(recurse=False)):
                self.init_module(module)
            module._initialised = True  # pyright: ignore[reportArgumentType] - a mark, no submodule

    def init_module(self, module: nn.Module) -> None:
        """Fill the parameters of one module as the paper says; override for a custom scheme.

        Weights are normal with ``config.initializer_range``, biases zero (Devlin et al. 2019, A.2
        and its code); normalisations keep their ones and zeros.
        """
        with torch.no_grad():
            if isinstance(module, nn.Linear | nn.Embedding):
                module.weight.normal_(0.0, self.config.initializer_range)
            if isinstance(module, nn.Linear) and (bias := bias_of(module)) is not None:
                bias.zero_()
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
            if isinstance(module, nn.LayerNorm | RMSNorm):
                module.reset_parameters()

    def _init_by_owner(self, module: nn.Module) -> None:
        """Fill one module by the rules of the model that it belongs to: the nearest around it."""
        models = (each for each in self.modules() if isinstance(each, PreTrainedModel))
        around = [each for each in models if module in {*each.modules()}]
        around[-1].init_module(module)  # those further in come later

    def tie_weights(self) -> None:
        """Let the output embeddings share the input embeddings' matrix, if the config says so."""
        output = self.get_output_embeddings()
        if output is not None and self.config.tie_word_embeddings:
            output.weight = self.get_input_embeddings().weight

    def _output_is_tied(self) -> bool:
        """Whether the output embeddings, if any, are the matrix of input embeddings still."""
        output = self.get_output_embeddings()
        inputs = (each for each in self.modules() if isinstance(each, nn.Embedding))
        return output is None or any(each.weight is output.weight for each in inputs)

    @property
    def base_model(self) -> nn.Module:
        """The base model inside a model with a head; a base itself gives itself."""
        has_base = self.base_model_prefix in self._modules
        return self.get_submodule(self.base_model_prefix) if has_base else self

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return the arguments of a call with one example of `length` tokens, where torch puts it.

        They have the shapes of real ones and no meaning; image models ignore `length`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    def example_calls(self, length: int) -> list[dict[str, Any]]:
        """Return the arguments of calls that together use all that the model has."""
        return [dict(self.example_inputs(length))]

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self._holder().get_input_embeddings()

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the word embeddings."""
        self._holder().set_input_embeddings(embeddings)

    def _holder(self) -> "PreTrainedModel":
        """Return the base model inside, which has the embeddings."""
        if self.base_model is self:
            raise NotImplementedError(f"{type(self).__name__} does not name its embeddings")
        return cast("PreTrainedModel", self.base_model)

    def get_output_embeddings(self) -> nn.Linear | None:
        """Return the map from hidden vectors to the vocabulary, or None."""
        return None

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> nn.Embedding:
        """Grow or shrink the vocabulary, for example after ``tokenizer.add_tokens``.

        New rows are drawn as at the start; an output map over the vocabulary grows too, its new
        biases zero. Returns the word embeddings.
        """
        old = self.get_input_embeddings()
        count = old.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        if count < 1:
            raise ValueError(f"a vocabulary needs at least one token; found {count}")
        new = resized_embedding(old, count, self.init_module)
        self.set_input_embeddings(new)
        output = self.get_output_embeddings()
        if output is not None:
            resized = resized_output(output, count, self.init_module)
            output.weight, output.bias, output.out_features = resized.weight, resized.bias, count
        self.config.vocab_size = count  # pyright: ignore[reportAttributeAccessIssue] - of every text family
        self.tie_weights()
        return new

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Count parameters, tied ones once."""
        embeddings = {
            parameter
            for module in self.modules()
            if isinstance(module, nn.Embedding)
            for parameter in module.parameters()
        }
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if (parameter.requires_grad or not only_trainable)
            and not (exclude_embeddings and parameter in embeddings)
        )

    def set_attn_implementation(self, name: str) -> None:
        """Choose the attention kernel of every layer: ``"sdpa"`` or ``"eager"``."""
        if name not in KERNELS:
            raise ValueError(
                f"unknown attention kernel {name!r}{nearest(name, KERNELS)}; known: "
                f"{', '.join(KERNELS)}"
            )
        for module in self.modules():
            if isinstance(module, ScaledDotProduct):
                module.kernel = KERNELS[name]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the first floating parameter."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    def anatomy(self) -> Anatomy:
        """Return where the base models lie and which of their parts are optional."""
        models = [
            (path, module)
            for path, module in cast("list[tuple[str, nn.Module]]", [*self.named_modules()])
            if isinstance(module, PreTrainedModel)
        ]
        bases = [(path, module) for path, module in models if module.is_base]
        return Anatomy(
            prefix=self.base_model_prefix,
            # A model of your own, with no family's base inside, is all base: nothing may lack.
            base_paths=tuple(path for path, _ in bases) or ("",),
            optional=tuple(
                f"{path}.{part}".lstrip(".") for path, module in models for part in module.optional
            ),
            aliases={old: new for _, module in models for old, new in module.aliases.items()},
        )


def _build_for_loading(
    cls: type[_Model], name: str | Path, config: Config, arguments: Mapping[str, Any]
) -> _Model:
    token = _loading.set(True)
    try:
        return cls(config, **arguments)
    except (ConfigError, RuntimeError) as error:  # torch's own: sizes that no memory holds
        raise ConfigError(f"{name}: {error}") from error
    finally:
        _loading.reset(token)
