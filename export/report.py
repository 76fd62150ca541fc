"""What the exporter prints of a checkpoint and of a proof."""

from __future__ import annotations

from export.loading.contents import Checkpoint
from export.reading import Diagnosis
from export.verify import Parity
from tui_gen.scrub import scrub_line


def diagnosis_lines(found: Checkpoint | None, diagnosis: Diagnosis) -> list[str]:
    """The diagnosis for people: what it is, its sizes, what is missing and which option supplies it."""
    lines = [diagnosis.summary]
    facts = [*([("file", found.form)] if found else []), *diagnosis.facts]
    width = max((len(name) for name, _ in facts), default=0)
    lines += [f"  {name.ljust(width)}  {value}" for name, value in facts]
    lines += [f"  note: {note}" for note in (*(found.notes if found else ()), *diagnosis.notes)]
    lines += [f"  doubt: {diagnosis.doubt}"] if diagnosis.doubt else []
    for missing in diagnosis.missing:
        stands_in = f"assumed: {missing.assumed}; to change it, " if missing.assumed else "needed: "
        lines.append(f"  not in the file: {missing.what} ({stands_in}{missing.option})")
    return [scrub_line(line) for line in lines]


def parity_lines(parity: Parity, *, text: bool) -> list[str]:
    """What was compared with PyTorch."""
    compared = (
        f"logits: max abs difference {parity.max_abs_logit_difference:.2g} "
        f"({parity.relative_logit_difference:.2g} of their range) over {parity.steps:,} steps, batch 1 and 5"
    )
    return [
        "the exported file, against PyTorch's full forward pass of the network as read above:",
        f"  {compared}",
        f"  greedy tokens: {parity.greedy_tokens} equal" + ("; decoded text equal" if text else ""),
    ]
