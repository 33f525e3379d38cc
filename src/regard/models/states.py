"""Hidden states and attentions of one call, seen by hooks: no flag inside any layer."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from regard.attention.attention import ScaledDotProduct
from regard.attention.kernels import attention_maps
from regard.batch import Layout
from regard.crossing import Crossing
from regard.layers.blocks import Stack
from regard.models.model import PreTrainedModel
from regard.observe import Observer, observing


@dataclass
class States:
    """Hidden states and attentions as they are seen; None where they were not asked for."""

    layout: Layout
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    observers: dict[nn.Module, Observer] = field(default_factory=dict[nn.Module, Observer])

    def watch_hidden(self, model: nn.Module) -> None:
        """See the input of each layer, and what the stack gives out."""
        self.hidden_states = ()

        def see(hidden: Tensor) -> None:
            self.hidden_states = (*(self.hidden_states or ()), self.layout.pad(hidden))

        for stack in model.modules():
            if isinstance(stack, Stack):
                self.observers |= {
                    layer: lambda _, into, __: see(into[0]) for layer in stack.layers
                }
                self.observers[stack] = lambda _, __, out: see(out)

    def watch_attention(self, model: nn.Module) -> None:
        """See who attends to whom in each layer; the kernel that computes is left alone."""
        self.attentions = ()

        def see(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
            query, key, _value, scope = inputs
            pattern = cast("ScaledDotProduct", module).pattern
            maps = attention_maps(query, key, scope, pattern)
            if isinstance(scope, Crossing):
                self.cross_attentions = (*(self.cross_attentions or ()), maps)
            else:
                self.attentions = (*(self.attentions or ()), maps)

        self.observers |= {m: see for m in model.modules() if isinstance(m, ScaledDotProduct)}


class ObservedModel(PreTrainedModel):
    """A model whose public call can return what passed through it."""

    @contextmanager
    def watch(
        self,
        layout: Layout,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        within: nn.Module | None = None,
    ) -> Generator[States]:
        """Collect what was asked for (None: what the config asks for) within the block.

        Of the whole model, or of its part `within`.
        """
        states, config, model = States(layout), self.config, within or self
        if config.output_hidden_states if output_hidden_states is None else output_hidden_states:
            states.watch_hidden(model)
        if config.output_attentions if output_attentions is None else output_attentions:
            states.watch_attention(model)
        with observing(states.observers):
            yield states
