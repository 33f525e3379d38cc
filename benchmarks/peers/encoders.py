"""Contenders that encode lists of ids: from a checkpoint's folder to a function of sequences."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peers.exports import Ids, by_length, padded

#: Returns the hidden vectors (tokens, width) of each sequence.
Encode = Callable[[Ids], list[Any]]


def transformers_encoder(
    folder: Path,
    threads: int,
    precision: str = "float32",
    in_order: bool = True,
    compiled: bool = False,
) -> Encode:
    """Return what encodes with transformers in padded batches of 32."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.BertModel.from_pretrained(
        folder, add_pooling_layer=False, dtype=getattr(torch, precision)
    ).eval()
    if compiled:
        model = torch.compile(model, dynamic=True)

    @torch.inference_mode()
    def run(sequences: Ids) -> list[Any]:
        order = [*range(len(sequences))]
        as_they_come = [order[start : start + 32] for start in range(0, len(order), 32)]
        results: list[Any] = [None] * len(sequences)
        for rows in by_length(sequences, 32) if in_order else as_they_come:
            ids, mask = map(torch.from_numpy, padded(sequences, rows))
            put(results, sequences, rows, model(ids, attention_mask=mask).last_hidden_state)
        return results

    return run


def put(results: list[Any], sequences: Ids, rows: Sequence[int], hidden: Any) -> None:
    """Write the vectors of one padded batch to their places."""
    for row, i in enumerate(rows):
        results[i] = hidden[row, : len(sequences[i])]


def openvino_encoder(folder: Path, threads: int, precision: str) -> Encode:
    """Return what encodes with OpenVINO in sorted batches of 32, one after the other."""
    import openvino

    model = openvino.Core().compile_model(
        openvino.Core().read_model(folder / "openvino.xml"), "CPU",
        {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision,
         "PERFORMANCE_HINT": "LATENCY"},
    )  # fmt: skip

    def run(sequences: Ids) -> list[Any]:
        results: list[Any] = [None] * len(sequences)
        for rows in by_length(sequences, 32):
            put(results, sequences, rows, model(list(padded(sequences, rows)))[0])
        return results

    return run


def openvino_throughput(folder: Path, threads: int, name: str, precision: str | None) -> Encode:
    """Return what encodes with OpenVINO in sorted batches of 8, as many at once as threads."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    model = openvino.Core().compile_model(
        openvino.Core().read_model(folder / name), "CPU",
        {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads,
         "PERFORMANCE_HINT": "THROUGHPUT"} | options,
    )  # fmt: skip
    queue = openvino.AsyncInferQueue(model, threads)

    def run(sequences: Ids) -> list[Any]:
        results: list[Any] = [None] * len(sequences)

        def done(request: Any, rows: Sequence[int]) -> None:
            put(results, sequences, rows, request.get_output_tensor(0).data.copy())

        queue.set_callback(done)
        for rows in by_length(sequences, 8):
            queue.start_async(list(padded(sequences, rows)), rows)
        queue.wait_all()
        return results

    return run


def onnx_encoder(folder: Path, threads: int, name: str) -> Encode:
    """Return what encodes with onnxruntime in sorted batches of 32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        folder / name, options, providers=["CPUExecutionProvider"]
    )

    def run(sequences: Ids) -> list[Any]:
        results: list[Any] = [None] * len(sequences)
        for rows in by_length(sequences, 32):
            ids, mask = padded(sequences, rows)
            inputs = {"input_ids": ids, "attention_mask": mask}
            put(results, sequences, rows, session.run(None, inputs)[0])
        return results

    return run


def regard_encoder(folder: Path, threads: int, precision: str | None = None) -> Encode:
    """Return what encodes with regard in packed batches, optimized if a precision is given."""
    import torch

    import regard
    from regard.data.sampling import token_batches
    from regard.pipelines.pipeline import BATCH_TOKENS

    torch.set_num_threads(threads)
    model = regard.BertModel.from_pretrained(folder, add_pooling_layer=False)
    if precision:
        model = regard.optimize(model, precision)

    @torch.inference_mode()
    def run(sequences: Ids) -> list[Any]:
        results: list[Any] = [None] * len(sequences)
        for rows in token_batches([len(each) for each in sequences], BATCH_TOKENS):
            batch = regard.TokenBatch.from_sequences([sequences[i] for i in rows])
            hidden = model.encode(batch)
            for i, each in zip(batch.layout.order, hidden.split(batch.layout.lengths), strict=True):
                results[rows[i]] = each
        return results

    return run


ENCODERS: dict[str, Callable[[Path, int], Encode]] = {
    "transformers fp32, as they come": lambda *given: transformers_encoder(*given, in_order=False),
    "transformers fp32, sorted": transformers_encoder,
    "transformers bf16, sorted": lambda *given: transformers_encoder(*given, "bfloat16"),
    "transformers fp32, compiled": lambda *given: transformers_encoder(*given, compiled=True),
    "OpenVINO fp32, sorted": lambda *given: openvino_encoder(*given, "f32"),
    "OpenVINO bf16, sorted": lambda *given: openvino_encoder(*given, "bf16"),
    "OpenVINO bf16, throughput": lambda *given: openvino_throughput(*given, "openvino.xml", "bf16"),
    "OpenVINO int8, throughput": lambda *given: openvino_throughput(
        *given, "openvino-int8.xml", None
    ),
    "onnxruntime int8, sorted": lambda *given: onnx_encoder(*given, "model-int8.onnx"),
    "regard": regard_encoder,
    "regard optimized, fp32": lambda *given: regard_encoder(*given, "fp32"),
    "regard optimized, bf16": lambda *given: regard_encoder(*given, "bf16"),
    "regard optimized, int8": lambda *given: regard_encoder(*given, "int8"),
}
