"""The help, with every key by what it is for and what the words on the screen mean; the command palette."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from textwrap import wrap
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.style import Style
from textual.widgets import Static

from tui_gen.sessions.history import PastPrompt, PromptHistory
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.bindings import KEYS, TASKS, Key, Tasks, explained, is_letter, key_of, shown_key
from tui_gen.tui.layout import SteadyScreen
from tui_gen.tui.widgets.prompt import Prompt, one_line

_WIDTH = 72
"""Characters of a line: what an 80 column screen leaves."""
_WORDS = (
    ("next token", "the likeliest tokens at the cursor, or at the end; ▸ is the one that was taken; of several "
     "samples, the first"),
    ("raw", "the probability that the model gives a token, before any knob"),
    ("now", "the same after all knobs, as they are turned at this moment"),
    ("cut", "a token that top-k, top-p or min-p has made impossible"),
    ("bits", "how surprising a token is: 1 bit for a probability of 1 in 2, 2 for 1 in 4, 10 for 1 in 1024; above "
     "a list of tokens, how open the choice is: 3 bits are as open as one among 8 equal ones"),
    ("surprise", "{surprisal}: the bits of every token, as the model expected it from those before it"),
    ("temperature", "p ∝ exp(logit / T): T = 0 always takes the likeliest token, 1 is what the model learned, above 1 "
     "unlikely tokens become likelier"),
    ("top-k", "p = 0 unless rank ≤ k: only the k likeliest tokens are drawn"),
    ("top-p", "the fewest of the likeliest tokens with Σ p ≥ top-p"),
    ("min-p", "p = 0 unless p ≥ min-p · max p. In this order, each cuts what the one before it left. {knobs} has "
     "them all"),
    ("token 31", "the 31st after the prompt; pixels are counted likewise, rows and columns from 0 as tui-gen generate "
     "--erase takes them"),
    ("branch", "another ending: all that follows from another token, seed or knob; what it left is kept"),
    ("seed", "where the random numbers begin: same model, prompt, seed and knobs give the same tokens, also with "
     "tui-gen generate"),
    ("same noise", "every column of a comparison draws with the same random numbers, so only the knob makes the "
     "difference"),
    ("pace", "tokens a second, for the eye; it changes nothing about what is made"),
    ("ms/step", "what model and sampling take for one token of all samples"),
    ("by chance", "inside: the correlation that some unit of the layer reaches with the same property shifted along "
     "the text, in 19 places of 20 at most; what lies below it tells nothing"),
    ("on", "inside: a unit whose activation is at least half of the largest that it has in the text, to one side of 0"),
    ("prompt", "may be empty; what the model does not know is underlined"),
)  # fmt: skip
_IN_MEANING = 0.1
"""How well a key matches whose meaning has what was typed, and whose name has not."""
_AFTER_ACTIONS = 0.09
"""How well the newest prompt matches."""
_PROMPT = "prompt: "
_MOST_PROMPTS = 100
"""That are listed at once."""


class HelpScreen(ModalScreen[None], SteadyScreen[None]):
    """The help as a text that scrolls."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter", "dismiss", "close")]

    def __init__(self, tasks: Tasks = TASKS) -> None:
        """tasks: the keys as they are bound."""
        super().__init__()
        self._tasks = tasks

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll():
            yield Static(help_text(self._tasks), markup=False)

    def on_mount(self) -> None:
        """Lets the arrow keys scroll."""
        scroll = self.query_one(VerticalScroll)
        scroll.border_title, scroll.border_subtitle = "help", "esc closes"
        scroll.focus()

    def on_key(self, event: events.Key) -> None:
        """The key that opens the help closes it too."""
        if any(event.key in key.names for keys in self._tasks.values() for key in keys if key.id == "help"):
            event.stop()
            self.dismiss()


def help_text(tasks: Tasks = TASKS) -> str:
    """All keys by what they are for, then the words on the screen."""
    keys = [key for group in tasks.values() for key in group]
    signs = (shown_key(name) for key in keys if key.owner in {"app", "screen"} for name in filter(is_letter, key.names))
    legend = wrap(f"^n is ctrl+n. In the prompt, {' '.join(dict.fromkeys(signs))} are letters.", _WIDTH)
    parts = [_section(task, explained(group)) for task, group in tasks.items()]
    shown = {name: key_of(name, keys) for name in ("surprisal", "knobs")}
    words = [(name, meaning.format_map(shown)) for name, meaning in _WORDS]
    return "\n\n".join(["\n".join(legend), *parts, _section("words on the screen", words)])


def _section(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([heading.upper(), *(_row(*row) for row in rows)])


def _row(name: str, meaning: str) -> str:
    """A name longer than its column takes a line for itself."""
    line = f"  {name:12} " if len(name) <= 12 else f"  {name}\n{'':15}"
    lines = wrap(meaning, _WIDTH - 15)
    return line + f"\n{'':15}".join(lines)


class Palette(CommandPalette, SteadyScreen[None]):
    """The list of all actions, whose page keys do nothing while it has no room; in Textual's they raise a KeyError."""

    DEFAULT_CSS = """
    Palette CommandList {
        min-width: 16; /* a text cannot be wrapped in no cells at all */
    }
    """

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region or not action.startswith("page"):
            super()._action_command_list(action)


class Actions(Provider):
    """Finds actions by what they are called and what they do, and shows the key beside the name."""

    def __init__(self, screen: Screen[Any], match_style: Style | None = None, keys: Sequence[Key] = KEYS) -> None:
        """keys: as they are bound."""
        super().__init__(screen, match_style)
        self._named_keys = [key for key in keys if key.name]

    async def discover(self) -> Hits:
        """All of them, in the order of the help."""
        for key in self._named_keys:
            yield DiscoveryHit(_with_key(Content(key.name), key), partial(self.run, key), key.name, key.meaning)

    async def search(self, query: str) -> Hits:
        """Those that match what was typed."""
        matcher = self.matcher(query)
        for key in self._named_keys:
            score = matcher.match(key.name) or _IN_MEANING * (query.lower() in key.meaning.lower())
            if score:
                content = _with_key(matcher.highlight(key.name), key)
                yield Hit(score, content, partial(self.run, key), key.name, key.meaning)

    async def run(self, key: Key) -> None:
        """Does what a key does, also where the key itself would be left to what has the focus."""
        name, arguments = key.parts
        owner = self.app if key.owner == "app" else self.screen
        result = getattr(owner, f"action_{name}")(*arguments)
        if inspect.isawaitable(result):
            await result


class PastPrompts(Provider):
    """Finds prompts that were used, in any session, by what stands in them; the newest first."""

    async def search(self, query: str) -> Hits:
        """Those that have every word that was typed."""
        put = self.screen.query_one(Prompt).put
        for number, prompt in enumerate(_prompts_with(query.lower().split()), start=1):
            text = f"{_PROMPT}{one_line(prompt.text):.160}"
            content, model = Content(text), f"of {scrub_line(prompt.model)}"
            yield Hit(_AFTER_ACTIONS / number, content, partial(put, prompt.text), text, model)


def _prompts_with(words: list[str]) -> list[PastPrompt]:
    """The newest prompts that have some words; those of one model that are the same, once."""
    newest = dict.fromkeys(reversed(PromptHistory().prompts()))
    fitting = (prompt for prompt in newest if all(word in _PROMPT + prompt.text.lower() for word in words))
    return list(islice(fitting, _MOST_PROMPTS))


def _with_key(name: Content, key: Key) -> Content:
    return Content.assemble(name, "  ", (key.shown, "not bold $text-accent"))
