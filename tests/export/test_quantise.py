"""Smaller files say almost the same, say by how much, and are refused where they do not."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.graph import StepGraph
from export.quantise import LIMIT, SAMPLES, Precision, SmallDtype, check_precision, compare, quantise, shrink
from tests.support.export_training import card_of, network, recurrent, step_graph
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import shipped_folder
from tui_gen.runtime.model import Model
from tui_gen.runtime.operators import check_operators

SHIPPED = ["recipes", "shakespeare", "names", "fashion", "adventurers"]


def _shipped(name: str) -> tuple[bytes, ModelCard, str]:
    folder = shipped_folder() / name
    card = ModelCard.from_json((folder / "config.json").read_text(encoding="utf-8"))
    return (folder / "model.onnx").read_bytes(), card, (folder / "tokenizer.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("dtype", "ratio", "limit"), [("fp16", 1.5, 1e-5), ("int8", 2.0, 0.005)])
@pytest.mark.parametrize("name", SHIPPED)
def test_trained_models_shrink_and_stay_themselves(name: str, dtype: SmallDtype, ratio: float, limit: float) -> None:
    graph, card, tokenizer = _shipped(name)
    small, precision = shrink(graph, card, tokenizer, dtype, force=False)
    assert len(graph) / len(small) > ratio
    assert (precision.bytes_before, precision.bytes_after) == (len(graph), len(small))
    assert 0 <= precision.kl_divergence < limit
    assert precision.greedy_agreement > 0.95
    assert precision.tokens == 2000
    check_operators(small)


def test_large_products_are_computed_in_whole_numbers_and_small_ones_only_stored() -> None:
    def kinds(name: str) -> set[str]:
        return {node.op_type for node in onnx.load_from_string(quantise(_shipped(name)[0], "int8")[0]).graph.node}

    assert {"DynamicQuantizeLSTM", "MatMulInteger"} <= kinds("recipes")
    assert "GRU" in kinds("shakespeare")
    assert "MatMulInteger" not in kinds("names") | kinds("fashion")
    assert quantise(_shipped("recipes")[0], "int8")[1][:2] == ("DynamicQuantizeLSTM", "MatMulInteger")


def test_smaller_files_open_at_every_optimisation_level(tmp_path: Path) -> None:
    """Graphs that compute in float16 kill the process at some levels; these do not."""
    for name, dtype in product(("recipes", "shakespeare"), get_args(SmallDtype)):
        (tmp_path / f"{name}-{dtype}.onnx").write_bytes(quantise(_shipped(name)[0], dtype)[0])
    code = f"""if True:
        import pathlib, tui_gen, onnxruntime
        for path in pathlib.Path({str(tmp_path)!r}).iterdir():
            for level in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"):
                options = onnxruntime.SessionOptions()
                options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, "ORT_" + level)
                onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["stacked lstm", "gru", "gated, conditions", "two stacks"])
def test_states_and_tables_of_places_stay_as_they_are(name: str) -> None:
    net = network(name)
    before = step_graph(net)
    after = onnx.load_from_string(quantise(before.SerializeToString(), "int8")[0])
    for old, new in ((before.graph.input, after.graph.input), (before.graph.output, after.graph.output)):
        assert [value.SerializeToString() for value in old] == [value.SerializeToString() for value in new]


@pytest.mark.parametrize(("kind", "outputs"), [("Conv", 0), ("ConvTranspose", 1), ("Gemm", 0), ("MatMul", 1)])
def test_each_output_of_a_layer_keeps_its_own_precision(kind: str, outputs: int) -> None:
    """Some outputs are a thousand times smaller than others, as they are of weights with a norm of their own."""
    flat = kind in ("Gemm", "MatMul")
    weight = np.random.default_rng(0).normal(size=(40, 40) if flat else (40, 40, 2, 2)).astype(np.float32)
    weight *= np.logspace(-3, 0, 40, dtype=np.float32).reshape(
        [-1 if axis == outputs else 1 for axis in range(weight.ndim)]
    )
    graph = StepGraph()
    value = graph.state("image", 40, *(() if flat else (5, 5)))
    product = graph.op(kind, value, graph.constant("weight", weight), **({"transB": 1} if kind == "Gemm" else {}))
    graph.logits(product if flat else graph.op("ReduceSum", product, graph.ints(2, 3), keepdims=0), 40)
    small = onnx.load_from_string(quantise(graph.model().SerializeToString(), "int8")[0])
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    error = np.abs(stored["weight.int8"] * stored["weight.scale"] - weight)
    others = tuple(axis for axis in range(weight.ndim) if axis != outputs)
    assert (error.max(axis=others) <= np.abs(weight).max(axis=others) / 200).all()


def test_the_quantiser_keeps_its_advice_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    quantise(_shipped("recipes")[0], "int8")
    assert not caplog.records


def test_a_file_that_says_something_else_is_refused_unless_forced() -> None:
    precision = Precision("int8", ("x",), 2 * LIMIT, 0.9, 2000)
    with pytest.raises(
        TuiGenError, match=r"KL divergence 0.02 nats per token, 0.01 is allowed, so nothing was written"
    ):
        check_precision(precision, force=False)
    check_precision(precision, force=True)
    check_precision(Precision("int8", ("x",), LIMIT / 2, 0.99, 2000), force=False)


def test_what_differs_is_measured_not_assumed() -> None:
    net = recurrent("lstm", vocab_size=40)
    full = step_graph(net).SerializeToString()
    net.output.bias.data[3] += 4
    card = card_of(net)
    models = [Model(graph, card, provider="cpu") for graph in (full, step_graph(net).SerializeToString())]
    different = compare(*models, np.array([[0]]), dtype="x", operators=())
    same = compare(models[0], models[0], np.array([[0]]), dtype="x", operators=())
    assert different.kl_divergence > 0.2
    assert (same.kl_divergence, same.greedy_agreement) == (0, 1)


def test_a_slow_model_is_compared_for_as_long_as_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.quantise.SECONDS", 0.0)
    net = network("lstm")
    model = Model(step_graph(net).SerializeToString(), card_of(net), provider="cpu")
    assert compare(model, model, np.array([[0]]), dtype="x", operators=()).tokens == SAMPLES


def test_the_report_names_sizes_operators_and_both_figures() -> None:
    lines = Precision("int8", ("MatMulInteger",), 0.00123, 0.9876, 2000, 8_000_000, 2_000_000).lines()
    assert lines == [
        "int8: 8.00 MB -> 2.00 MB, 4.0 times smaller",
        "  by MatMulInteger",
        "  KL divergence from fp32 0.0012 nats per token over 2,000 tokens; the likeliest token agrees in 98.8%",
    ]
