"""What a person is doing, as far as it decides what the keys do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Context:
    """The state of the screen. At most one of the `in_` facts holds; where none does, the output has the focus."""

    running: bool = False
    """Tokens are being made, be it paused."""
    paused: bool = False
    unfinished: bool = False
    """What is on the screen rests, and could go on."""
    walking: bool = False
    """The cursor stands on a token."""
    in_prompt: bool = False
    in_list: bool = False
    """Of models."""
    in_branches: bool = False
    in_panel: bool = False
    """In the distribution, to choose another token."""
    in_knobs: bool = False
    in_surprise: bool = False
    """In the list of the most surprising tokens."""
    several: bool = False
    """There are several samples."""
    drawing: bool = False
    """The model draws pictures."""
    made: bool = False
    """Something that a model made is on the screen."""
    comparing: bool = False
    """Two branches are on the screen."""

    def always(self) -> bool:
        """For keys that mean the same everywhere."""
        return True

    def on_output(self) -> bool:
        """The keys go to what was made, or to the page about a model."""
        inside = self.in_list or self.in_branches or self.in_panel or self.in_knobs or self.in_surprise
        return not (self.in_prompt or inside)

    def outside_prompt(self) -> bool:
        """A letter is no text of a prompt."""
        return not self.in_prompt

    def can_generate(self) -> bool:
        """Enter is not wanted for something else."""
        return self.in_prompt or (self.on_output() and not self.walking and not self.comparing)

    def can_pause(self) -> bool:
        """There is something to pause or to go on with."""
        return (self.running or self.unfinished) and self.on_output()

    def can_walk(self) -> bool:
        """There are tokens to walk through; the prompt, lists and the knobs have arrows of their own."""
        return self.made and not self.comparing and (self.on_output() or self.in_panel)

    def can_jump(self) -> bool:
        """The same for home and end, which the panel needs too."""
        return self.can_walk() and not self.in_panel

    def has_several(self) -> bool:
        """There is another sample to go to."""
        return self.several and not self.in_prompt and not self.comparing

    def can_choose(self) -> bool:
        """Another token can take the place of the one at the cursor."""
        return self.walking and self.on_output() and not self.comparing

    def can_type_over(self) -> bool:
        """A word can; pixels have none."""
        return self.can_choose() and not self.drawing

    def can_begin_anew(self) -> bool:
        """There is a token from which to begin."""
        return self.walking and not self.comparing

    def can_heat(self) -> bool:
        """The arrows turn the temperature, or move the cursor; lists and what scrolls keep them."""
        return self.in_prompt or (self.on_output() and not self.comparing)

    def can_scroll(self) -> bool:
        """The panel and the lists have pages of their own."""
        return self.in_prompt or self.on_output()

    def has_made(self) -> bool:
        """There is something to look at and to keep."""
        return self.made

    def draws(self) -> bool:
        """For what only pictures have."""
        return self.drawing

    def lists_branches(self) -> bool:
        """For the keys of the list of branches."""
        return self.in_branches
