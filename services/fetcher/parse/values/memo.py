"""Remembers the results of a pure function of a text, so that inner loops pay only for a dictionary look-up."""

from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


class Memo(dict[str, _Result]):
    """`memo[text]` is `function(text)`; forgets all results when it holds `size` of them."""

    def __init__(self, function: Callable[[str], _Result], size: int = 16_384) -> None:
        super().__init__()
        self.function = function
        self.size = size

    def __missing__(self, text: str) -> _Result:
        if len(self) >= self.size:
            self.clear()
        result = self[text] = self.function(text)
        return result
