"""What a checkpoint leaves open: answered by --assume, or by an assumption that is said aloud."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from export.reading import Missing
from tui_gen.errors import TuiGenError


class Questions:
    """Collects the questions that one reading asks."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers, self._asked = answers, dict[str, str]()
        self.missing: list[Missing] = []

    def ask(self, key: str, what: str, assumed: str, choices: Collection[str]) -> str:
        """The answer to `--assume KEY=...`, or what is assumed. Raises TuiGenError for one that is no choice.

        what: what the file does not say, such as `the nonlinearity of rnn`.
        """
        options = "|".join(dict.fromkeys((assumed, *choices)))
        given = self.given(key, f"{key}={options}")
        if given is None:
            missing = Missing(what, f"--assume {key}={options}", assumed)
            self.missing += [] if missing in self.missing else [missing]
            return assumed
        if given not in choices:
            raise TuiGenError(f"--assume {key}={given} is none of {', '.join(choices)}")
        return given

    def given(self, key: str, shown: str = "") -> str | None:
        """The answer that was given, to a question that need not be answered. shown: how the answer is typed."""
        self._asked[key] = shown or f"{key}=..."
        return self._answers.get(key)

    def check(self) -> None:
        """Raises TuiGenError for an answer to a question that was not asked."""
        for key in self._answers.keys() - self._asked.keys():
            known = ", ".join(sorted(self._asked.values())) or "none"
            raise TuiGenError(f"--assume {key}=... is no question about this file; what can be told of it: {known}")
