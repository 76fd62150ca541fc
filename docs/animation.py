"""One moving SVG of many pictures of the screen, as Textual draws them: what several of them show stands in it once."""

from __future__ import annotations

import re
from collections.abc import Sequence

LAST = 12
"""How many times as long as the others the last picture stands."""
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_RULE = re.compile(r"\.(terminal-\d+-r\d+) \{ (.*?) \}\n?")
_CELLS = re.compile(r'<rect fill="[^"]*" x=[^>]*/>|<text class="terminal-\d+-r\d+"[^>]*>[^<]*</text>')
_CONTENT = re.compile(r'(<g transform="translate\(9, 41\)"[^>]*>).*(?=</g>\s*</svg>)', re.DOTALL)
_STILL = "@media (prefers-reduced-motion: reduce) { g { animation: none !important } }"


def without_font(svg: str) -> str:
    """A picture that asks no other host for a font."""
    return _FONT.sub("", svg)


def animate(svgs: Sequence[str], seconds: float) -> str:
    """Pictures one after the other, without end; who wants no motion sees the last one.

    seconds: how long each is seen.
    """
    styles: dict[str, str] = {}
    times: dict[str, list[int]] = {}
    for at, svg in enumerate(svgs):
        for cells in dict.fromkeys(_cells(svg, styles)):
            times.setdefault(cells, []).append(at)
    groups: dict[tuple[int, ...], str] = {}
    for visible in times.values():
        groups.setdefault(tuple(visible), f"t{len(groups)}")
    rules = [f".{name} {{ {style} }}" for style, name in styles.items()]
    for seen, name in groups.items():
        rules += _rules(name, seen, len(svgs), seconds)
    rects, texts = ([cells for cells in times if cells.startswith(kind)] for kind in ("<rect", "<text"))
    content = _drawn(rects, times, groups) + '<g class="screen-matrix">' + _drawn(texts, times, groups) + "</g>\n"
    frame = _RULE.sub("", without_font(svgs[-1])).replace("</style>", "\n".join([*rules, _STILL, "</style>"]))
    frame = re.sub(r"terminal-\d+", "screen", frame)
    return _CONTENT.sub(lambda match: f"{match[1]}\n{content}", frame)


def _cells(svg: str, styles: dict[str, str]) -> list[str]:
    """Rectangles and texts, their classes those of `styles`, by their looks: each picture numbers its own anew."""
    looks = dict(_RULE.findall(svg))

    def name(match: re.Match[str]) -> str:
        return styles.setdefault(looks[match[0]], f"s{len(styles)}")

    visible = [cells for cells in _CELLS.findall(svg) if not cells.endswith(">\n</text>")]
    return [re.sub(r"terminal-\d+(?!-r)", "screen", re.sub(r"terminal-\d+-r\d+", name, cells)) for cells in visible]


def _drawn(elements: Sequence[str], times: dict[str, list[int]], groups: dict[tuple[int, ...], str]) -> str:
    """Elements, those together that are seen at the same times."""
    content: dict[str, list[str]] = {}
    for cells in elements:
        content.setdefault(groups[tuple(times[cells])], []).append(cells)
    return "".join(f'<g class="{name}">{"".join(cells)}</g>\n' for name, cells in content.items())


def _rules(name: str, seen: tuple[int, ...], count: int, seconds: float) -> list[str]:
    """When a group is visible: in the pictures `seen`, of `count`."""
    if len(seen) == count:
        return []
    length = count - 1 + LAST
    turns = [at for at in range(count) if at == 0 or (at in seen) != (at - 1 in seen)]
    stops = [f"{100 * at / length:.4g}% {{ visibility: {'visible' if at in seen else 'hidden'} }}" for at in turns]
    hidden = "" if count - 1 in seen else "visibility: hidden; "
    return [
        f"@keyframes {name} {{ {' '.join(stops)} }}",
        f".{name} {{ {hidden}animation: {name} {seconds * length:.4g}s step-end infinite }}",
    ]
