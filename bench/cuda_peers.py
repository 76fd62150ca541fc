"""What a person would otherwise run on a GPU: PyTorch whose work is captured once as a CUDA graph, and replayed."""

from __future__ import annotations

from typing import Any

import torch

from tui_gen.bench import peers


def language_model(name_sizes: tuple[int, int, int]) -> Any:
    """(embedding, LSTM, output) on the GPU."""
    return tuple(part.to("cuda").eval() for part in peers.language_model(*name_sizes))


def captured(parts: Any, samples: int) -> peers.Work:
    """A step with softmax, the likeliest tokens and sampling, captured by hand; the state stays in two tensors."""
    embedding, rnn, output = parts
    tokens = torch.zeros((samples, 1), dtype=torch.long, device="cuda")
    state = tuple(torch.zeros(rnn.num_layers, samples, rnn.hidden_size, device="cuda") for _ in range(2))

    def step() -> None:
        made, after = rnn(embedding(tokens), state)
        probs = torch.softmax(output(made[:, -1]), dim=1)
        torch.topk(probs, peers.TOP)
        tokens.copy_(torch.multinomial(probs, 1))
        for kept, new in zip(state, after, strict=True):
            kept.copy_(new)

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(aside):
        for _ in range(3):  # as PyTorch asks for before a capture
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        step()

    def work(count: int) -> None:
        for _ in range(count):
            graph.replay()
            tokens.tolist()

    return work


def bandwidth() -> float:
    """Bytes that the GPU reads in a second: of a copy, which reads and writes each byte."""
    source = torch.empty(2**28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    best = 0.0
    for _ in range(5):
        begin.record()
        target.copy_(source)
        end.record()
        torch.cuda.synchronize()
        best = max(best, 2 * source.nbytes / (begin.elapsed_time(end) / 1000))
    return best


def facts() -> dict[str, str]:
    """The GPU and its software."""
    found = torch.cuda.get_device_properties(0)
    return {
        "gpu": f"{found.name}, {found.total_memory / 2**30:.0f} GiB",
        "torch": torch.__version__,
        "torch's CUDA": str(torch.version.cuda),
        "cuDNN": str(torch.backends.cudnn.version()),
    }


def use_tf32(*, on: bool) -> None:
    """Whether cuDNN may compute products with 10 bits of precision, as it does by default; ours never are."""
    torch.backends.cudnn.allow_tf32 = on
    torch.backends.cuda.matmul.allow_tf32 = False
