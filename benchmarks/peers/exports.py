"""A BERT as OpenVINO and onnxruntime want it: exported, and quantised to int8 by their tools."""

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Ids = Sequence[Sequence[int]]
#: How many batches of 8 OpenVINO's int8 is calibrated with.
CALIBRATION = 16


def padded(sequences: Ids, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask (rows, longest) of some of the sequences."""
    longest = max(len(sequences[i]) for i in rows)
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, i in enumerate(rows):
        ids[row, : len(sequences[i])] = sequences[i]
        mask[row, : len(sequences[i])] = 1
    return ids, mask


def by_length(sequences: Ids, size: int) -> list[list[int]]:
    """Return batches of `size` sequences, by their numbers, the longest first."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def traceable(folder: Path) -> Any:
    """Return the model of `folder` as a module from ids and mask to hidden vectors."""
    import torch
    import transformers

    class Hidden(torch.nn.Module):
        """The model without the names of its outputs."""

        def __init__(self) -> None:
            super().__init__()
            options = {"add_pooling_layer": False, "dtype": torch.float32}
            self.model = transformers.BertModel.from_pretrained(folder, **options).eval()

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids, attention_mask=attention_mask).last_hidden_state

    return Hidden()


def example() -> tuple[Any, Any]:
    """Return ids and mask with padding to trace with."""
    import torch

    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    return torch.full((2, 9), 1000), mask


def export(folder: Path, calibration: Ids) -> None:
    """Write beside the checkpoint `folder` what is not there yet; leave out what cannot be."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    steps: dict[str, Callable[[Path], None]] = {
        "openvino.xml": lambda path: to_openvino(folder, path),
        "openvino-int8.xml": lambda path: quantize_openvino(folder, path, calibration),
        "model.onnx": lambda path: to_onnx(folder, path),
        "model-int8.onnx": lambda path: quantize_onnx(folder, path),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, step in steps.items():
            if not (folder / name).exists():
                try:
                    step(folder / name)
                except ImportError as error:
                    print(f"{name} is left out: {error}")


def to_openvino(folder: Path, path: Path) -> None:
    """Write the model for OpenVINO, in fp32."""
    import openvino

    ids, mask = example()
    inputs = {"input_ids": ids, "attention_mask": mask}
    model = openvino.convert_model(traceable(folder), example_input=inputs)
    openvino.save_model(model, path, compress_to_fp16=False)


def quantize_openvino(folder: Path, path: Path, calibration: Ids) -> None:
    """Write OpenVINO's model in int8, calibrated by nncf."""
    import nncf
    import openvino

    batches = [padded(calibration, rows) for rows in by_length(calibration, 8)]
    found: Iterable[Any] = [
        {"input_ids": ids, "attention_mask": mask} for ids, mask in batches[:CALIBRATION]
    ]
    model = nncf.quantize(
        openvino.Core().read_model(folder / "openvino.xml"), nncf.Dataset(found),
        model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION,
    )  # fmt: skip
    openvino.save_model(model, path, compress_to_fp16=False)


def to_onnx(folder: Path, path: Path) -> None:
    """Write the model for onnxruntime, in fp32."""
    import onnx  # noqa: F401 - what torch's exporter needs and names only when it is half done
    import torch

    rows = {0: "rows", 1: "columns"}
    torch.onnx.export(
        traceable(folder), example(), str(path), dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["hidden"],
        dynamic_axes={"input_ids": rows, "attention_mask": rows, "hidden": rows},
    )  # fmt: skip


def quantize_onnx(folder: Path, path: Path) -> None:
    """Write onnxruntime's model in int8; it quantises what comes in as it runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(folder / "model.onnx", path, weight_type=QuantType.QInt8, per_channel=True)
