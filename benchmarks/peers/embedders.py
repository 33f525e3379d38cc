"""Contenders that embed texts: from the folder of a MiniLM to a function of texts.

sentence-transformers has backends for OpenVINO and onnxruntime, through optimum, which asks for
older releases of transformers than the others here. So the exported model is put into its pipeline
by hand: reading, sorting, padding and pooling stay its own.
"""

import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

#: Returns one vector (width,) per text.
Embed = Callable[[Sequence[str]], Any]


def sentence_transformers(folder: Path, threads: int, precision: str = "float32") -> Embed:
    """Return what embeds with sentence-transformers as people run it: it sorts by itself."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, precision)}
    )
    return lambda texts: encoder.encode(list(texts), show_progress_bar=False)


def with_exported(folder: Path, threads: int, hidden: Callable[[dict[str, Any]], Any]) -> Embed:
    """Return what embeds with sentence-transformers around the hidden vectors of an export."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.modeling_outputs import BaseModelOutput

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(str(folder), device="cpu")

    def forward(model: Any, input_ids: Any, attention_mask: Any, **unused: Any) -> Any:
        found = hidden({"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()})
        return BaseModelOutput(last_hidden_state=torch.from_numpy(found))

    model = encoder[0].model
    model.forward = types.MethodType(forward, model)
    return lambda texts: encoder.encode(list(texts), show_progress_bar=False)


def openvino_embedder(folder: Path, threads: int, name: str, precision: str | None) -> Embed:
    """Return sentence-transformers around OpenVINO."""
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"} | hint
    model = core.compile_model(core.read_model(folder / name), "CPU", options)
    return with_exported(folder, threads, lambda inputs: model(inputs)[0])


def onnx_embedder(folder: Path, threads: int, name: str) -> Embed:
    """Return sentence-transformers around onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        folder / name, options, providers=["CPUExecutionProvider"]
    )
    return with_exported(folder, threads, lambda inputs: session.run(None, inputs)[0])


def fastembed_embedder(folder: Path, threads: int, name: str) -> Embed:
    """Return what embeds with fastembed, from the folder and not from its store."""
    import fastembed
    from fastembed.common.model_description import ModelSource, PoolingType

    fastembed.TextEmbedding.add_custom_model(
        "local", PoolingType.MEAN, True, ModelSource(hf="local"), 384, model_file=name
    )
    model = fastembed.TextEmbedding("local", specific_model_path=str(folder), threads=threads)
    return lambda texts: [*model.embed(texts)]


def regard_embedder(folder: Path, threads: int, precision: str | None = None) -> Embed:
    """Return what embeds with regard, optimized if a precision is given."""
    import torch

    import regard

    torch.set_num_threads(threads)
    encoder = regard.SentenceEncoder.from_pretrained(folder)
    if precision:
        encoder.model = regard.optimize(encoder.model, precision)
    return encoder.encode


EMBEDDERS: dict[str, Callable[[Path, int], Embed]] = {
    "sentence-transformers fp32": sentence_transformers,
    "sentence-transformers bf16": lambda *given: sentence_transformers(*given, "bfloat16"),
    "sentence-transformers, OpenVINO bf16": lambda *given: openvino_embedder(
        *given, "openvino.xml", "bf16"
    ),
    "sentence-transformers, OpenVINO int8": lambda *given: openvino_embedder(
        *given, "openvino-int8.xml", None
    ),
    "sentence-transformers, onnxruntime int8": lambda *given: onnx_embedder(
        *given, "model-int8.onnx"
    ),
    "fastembed fp32": lambda *given: fastembed_embedder(*given, "model.onnx"),
    "fastembed int8": lambda *given: fastembed_embedder(*given, "model-int8.onnx"),
    "regard": regard_embedder,
    "regard optimized, fp32": lambda *given: regard_embedder(*given, "fp32"),
    "regard optimized, bf16": lambda *given: regard_embedder(*given, "bf16"),
    "regard optimized, int8": lambda *given: regard_embedder(*given, "int8"),
}
