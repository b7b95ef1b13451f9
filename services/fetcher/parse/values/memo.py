"""A pure function of a text that remembers its answers: a dictionary look-up is what inner loops can afford."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Memo(dict[str, T]):
    """`memo[text]` is `function(text)`; forgets everything when it holds `size` answers."""

    def __init__(self, function: Callable[[str], T], size: int = 16_384) -> None:
        super().__init__()
        self.function = function
        self.size = size

    def __missing__(self, text: str) -> T:
        if len(self) >= self.size:
            self.clear()
        answer = self[text] = self.function(text)
        return answer
