"""Converts a network that was read: step function, proof, smaller weights if asked for, folder."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx
import torch

from tui_gen.card import AS_READ, ModelCard
from tui_gen.child import Report, ignore
from tui_gen.cli.inspect import drawing_lines, warning_lines
from tui_gen.errors import TuiGenError
from tui_gen.files import digest
from tui_gen.inspection.audit import audit
from tui_gen.json_fields import JsonFields
from tui_gen.library import CARD_KEY, TOKENIZER_KEY, needs_trust
from tui_gen.runtime.onnx_graph import with_metadata
from tui_gen.terminal_text import brief, show
from tui_gen.text.encoder_process import foreign_tokenizer

from .build_tokenizer import with_unknown
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.load import checkpoint_files
from .files import fingerprint
from .folder import write_folder
from .graph import OPSET
from .image_network import check_causal
from .images.streaming import StreamingNetwork, with_guidance
from .original import OriginalParity, compare_original
from .quantise import shrink
from .reader import Diagnosis, Exportable, Reading, Reference
from .samples import OpenStep
from .verify import Parity, compare_spread, verify

Dtype = Literal["fp32", "fp16", "int8"]
AUDIT_SECONDS = 10.0
"""About as long the audit of an image model may take."""
_DRAWN_COLUMNS = 80
"""Of a receptive field that has a hole."""
_UNPROVED = (
    "that it was read right, this does not prove: --reference FILE.npz compares it with what the original answered "
    "(inputs=..., logits=...), --factory module:function with your own code"
)


@dataclass(frozen=True)
class Conversion:
    """A network as a step function that is proved equal to it, and what its folder says."""

    graph: bytes
    card: ModelCard
    tokenizer: str
    log: Sequence[Mapping[str, Any]]
    """A line per epoch, where the checkpoint has one."""
    step: OpenStep
    """As it was proved, before its weights were made smaller."""


def open_foreign(exportable: Exportable) -> OpenStep:
    """Of a checkpoint, which may bring a stranger's tokenizer along."""
    tokenizer = exportable.tokenizer
    return OpenStep.of(exportable, foreign_tokenizer(tokenizer).encoder if tokenizer else None)


def convert(
    reading: Reading,
    target: Path,
    *,
    source: Path | None,
    name: str,
    dtype: Dtype = "fp32",
    force: bool = False,
    guidance: float | None = None,
    reference: Reference | None = None,
    weights: bytes = b"",
    tell: Callable[..., None] = show,
    begin: Report = ignore,
) -> ModelCard:
    """Converts, proves and writes.

    weights: what the folder keeps to make the model again. tell: takes lines that say what was compared and written.
    The rest is as of `conversion_of`. Raises TuiGenError, and writes nothing, if something is missing or the step
    function differs from the network.
    """
    conversion = conversion_of(
        reading,
        source=source,
        name=name,
        dtype=dtype,
        force=force,
        guidance=guidance,
        reference=reference,
        tell=tell,
        begin=begin,
    )
    instead = ", in place of the model that was there" if target.exists() and any(target.iterdir()) else ""
    card = write_folder(
        target,
        graph=conversion.graph,
        card=conversion.card,
        tokenizer=conversion.tokenizer,
        log=conversion.log,
        weights=weights,
    )
    words = ["tui-gen", str(target), *(["--trust"] if needs_trust(conversion.graph) else [])]
    tell(f"wrote {target}{instead}; play it with: {shlex.join(words)}")
    return card


def conversion_of(
    reading: Reading,
    *,
    source: Path | None = None,
    name: str,
    dtype: Dtype = "fp32",
    force: bool = False,
    guidance: float | None = None,
    reference: Reference | None = None,
    open_step: Callable[[Exportable], OpenStep] = open_foreign,
    is_brief: bool = False,
    tell: Callable[..., None] = show,
    begin: Report = ignore,
) -> Conversion:
    """Converts and proves.

    source: the checkpoint, for its hash. guidance: the scale at which a picture network follows its prompt, if
    otherwise than it learned to. reference: answers of the original, to compare with. open_step: opens the step
    function. is_brief: less is compared, because another network of these sizes was proved whole. tell: takes lines
    that say what was compared. begin: takes what is done next, each of which may take long. Raises TuiGenError if
    something is missing or the step function differs from the network.
    """
    if reading.diagnosis.doubt and not force:
        raise TuiGenError(f"{reading.diagnosis.doubt}; --force converts it all the same")
    begin("building the network")
    exportable = reading.build()
    originals = _compare_originals(exportable, reference, reading.diagnosis)
    exportable = _with_whole_tokenizer(_guided(exportable, guidance))
    if isinstance(exportable.network, StreamingNetwork) and not is_brief:
        begin("looking whether a pixel sees a later one")
        check_causal(exportable.network.network)
    begin("writing down its step function")
    step = open_step(exportable)
    begin("comparing that with PyTorch")
    card, graph = replace(_prove(exportable, step, originals, is_brief, tell), name=name), step.graph
    size = f"{len(graph) / 1e6:.1f} MB, {exportable.network.parameters_count:,} parameters"
    tell(f"{card.architecture}: {size}")
    assumptions = [f"{missing.what}: {missing.default}" for missing in reading.diagnosis.missing if missing.default]
    facts = {**card.export, **_provenance(source), "assumed": assumptions}
    if dtype != "fp32":
        graph, precision = shrink(graph, card, exportable.tokenizer or None, dtype, force=force)
        tell(*precision.lines())
        facts["precision"] = asdict(precision)
        card = _unmeasured(card)
    card = replace(card, export={key: value for key, value in facts.items() if value})
    graph = with_metadata(graph, _metadata(card, exportable.tokenizer))
    return Conversion(graph, _succeed(card, digest(graph)), exportable.tokenizer, exportable.log, step)


def _with_whole_tokenizer(exportable: Exportable) -> Exportable:
    return replace(exportable, tokenizer=with_unknown(exportable.tokenizer)) if exportable.tokenizer else exportable


def _guided(exportable: Exportable, guidance: float | None) -> Exportable:
    """At this scale, or else at that which its card says; as it learned where neither says one."""
    usual = exportable.card.export.get("guidance")
    if guidance is None and usual is None:
        return exportable
    if guidance is None:
        guidance = JsonFields(dict(exportable.card.export), "export.").number("guidance")
    elif guidance != usual:
        exportable = replace(exportable, card=_unmeasured(exportable.card))
    return with_guidance(exportable, guidance)


def _unmeasured(card: ModelCard) -> ModelCard:
    """Of another network than the one that was measured, or of other numbers."""
    return replace(card, quality=None, measured={}, replaces=(), sha256="")


def _metadata(card: ModelCard, tokenizer: str) -> dict[str, str]:
    """What the graph says of itself, so that it can be played without its folder."""
    texts = {
        "name": card.name,
        "model_license": card.licence,
        CARD_KEY: card.lasting_json(),
        TOKENIZER_KEY: tokenizer,
    }
    return {key: text for key, text in texts.items() if text}


def _succeed(card: ModelCard, sha256: str) -> ModelCard:
    """The card of a new file of a network, in place of that of another file which the card has the hash of."""
    before = () if card.sha256 in ("", sha256) else (card.sha256,)
    return replace(card, replaces=tuple(each for each in (*card.replaces, *before) if each != sha256), sha256=sha256)


def _compare_originals(
    exportable: Exportable, reference: Reference | None, diagnosis: Diagnosis
) -> dict[str, OriginalParity]:
    """How near the network as it was read is to each original that can be asked, by its name.

    Raises TuiGenError if it is another network.
    """
    groups = [exportable.references, (reference,) if reference else ()]
    parities = [compare_original(exportable.network, references, diagnosis) for references in groups if references]
    return {parity.source: parity for parity in parities}


def _prove(
    exportable: Exportable,
    step: OpenStep,
    originals: Mapping[str, OriginalParity],
    is_brief: bool,
    tell: Callable[..., None],
) -> ModelCard:
    """Compares the step function with PyTorch, and looks whether it is causal."""
    model, card = step.model, step.card
    parity = verify(exportable.network, model, step.codec, real=exportable.real, is_brief=is_brief)
    own = () if exportable.against == AS_READ else (exportable.against,)
    against = " and ".join(own + tuple(f"the original: {source}" for source in originals)) or AS_READ
    worst = max((near.max_abs_logit_difference for near in originals.values()), default=None)
    positions = sum(near.positions for near in originals.values()) or None
    parity = replace(parity, against=against, original_difference=worst, original_positions=positions)
    tell(*parity_lines(parity, originals, network=exportable.against, text=card.image is None))
    if isinstance(exportable.network, StreamingNetwork) and not is_brief:
        if exportable.network.compared:
            spread = compare_spread(exportable.network, model)
            tell(f"  compared in the time there is: {exportable.network.compared}, and {spread}")
        tell(f"computes {card.export['computes']}")
    if against == AS_READ:
        tell(_UNPROVED)
    if card.image and not is_brief:
        report = audit(model, card, seconds=AUDIT_SECONDS)
        tell(report.summary)
        if report.field.dead_lines:
            tell(*warning_lines(report.field), *drawing_lines([report.field], _DRAWN_COLUMNS))
    facts = {name: value for name, value in asdict(parity).items() if value is not None}
    return replace(card, export={**card.export, "parity": facts})


def _provenance(source: Path | None) -> dict[str, object]:
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, onnx {onnx.__version__}"
    source_sha256 = fingerprint(*checkpoint_files(source)) if source else ""
    return {"source_sha256": source_sha256, "opset": OPSET, "versions": versions}


def diagnosis_lines(checkpoint: Checkpoint | None, diagnosis: Diagnosis) -> list[str]:
    """The diagnosis for people: what it is, its sizes, what is missing and which option supplies it."""
    lines = [diagnosis.summary]
    facts = [*([("file", checkpoint.form)] if checkpoint else []), *diagnosis.facts]
    width = max((len(name) for name, _ in facts), default=0)
    lines += [f"  {name.ljust(width)}  {value}" for name, value in facts]
    lines += [f"  note: {note}" for note in (*(checkpoint.notes if checkpoint else ()), *diagnosis.notes)]
    lines += [f"  doubt: {diagnosis.doubt}"] if diagnosis.doubt else []
    for missing in diagnosis.missing:
        stands_in = f"assumed: {missing.default}; to change it, " if missing.default else "needed: "
        lines.append(f"  not in the file: {missing.what} ({stands_in}{missing.option})")
    return [*map(brief, lines)]


def diagnosis_json(checkpoint: Checkpoint | None, diagnosis: Diagnosis) -> str:
    """The same for programs, in one line."""
    form = {"file": checkpoint.form} if checkpoint else {}
    notes = [*(checkpoint.notes if checkpoint else ()), *diagnosis.notes]
    return json.dumps({**asdict(diagnosis), **form, "notes": notes})


def parity_lines(parity: Parity, originals: Mapping[str, OriginalParity], *, network: str, text: bool) -> list[str]:
    """What was compared with what. network: what it is that PyTorch ran."""
    logits = (
        f"logits: max abs difference {parity.max_abs_logit_difference:.2g} "
        f"({parity.relative_logit_difference:.2g} of their range) over {parity.steps:,} steps, batch 1 and 5"
    )
    lines = [
        f"the exported file, against PyTorch's full forward pass of {network}:",
        f"  {logits}",
        f"  greedy tokens: {parity.greedy_tokens} equal" + ("; decoded text equal" if text else ""),
    ]
    for source, near in originals.items():
        lines += [
            f"{AS_READ}, against the original: {source}:",
            f"  log-probabilities: max abs difference {near.max_abs_logit_difference:.2g} "
            f"({near.relative_logit_difference:.2g} of their range) over {near.positions:,} positions",
        ]
    return lines
