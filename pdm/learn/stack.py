"""Lives laid out one below the other, as training walks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pdm.features.frame import Floats

EARLY = 0.25  # share of a life in which a machine counts as healthy


@dataclass(frozen=True)
class Stack:
    """Lives one below the other.

    Attributes:
        columns: `[r, k]` running steps, columns in the order of the class, NaN where missing.
        lengths: `[n]` steps of each life.
        used, remaining: `[r]` life used and left after each step [life steps].
        follows: `[r]` whether the machine ran until the step began; None if always.
        renewed: `[r, k]` behind which columns other sensors stand from this step on; None for nowhere.
    """

    columns: Floats
    lengths: NDArray[np.int64]
    used: Floats
    remaining: Floats
    follows: NDArray[np.bool_] | None = None
    renewed: NDArray[np.bool_] | None = None

    @cached_property
    def parts(self) -> list[slice]:
        """The rows of each life."""
        ends = np.cumsum(self.lengths)
        return [slice(end - length, end) for end, length in zip(ends.tolist(), self.lengths.tolist(), strict=True)]

    @cached_property
    def age(self) -> NDArray[np.int64]:
        """`[r]` steps before each one in its life."""
        return np.concatenate([np.arange(length) for length in self.lengths])

    @cached_property
    def early(self) -> NDArray[np.bool_]:
        return np.asarray(self.age < EARLY * np.repeat(self.lengths, self.lengths))


def joined(stacks: Sequence[Stack]) -> Stack:
    """All lives of several stacks."""
    follows = [np.ones(len(one.columns), dtype=np.bool_) if one.follows is None else one.follows for one in stacks]
    renewed = [np.zeros(one.columns.shape, dtype=np.bool_) if one.renewed is None else one.renewed for one in stacks]
    return Stack(
        columns=np.concatenate([one.columns for one in stacks]),
        lengths=np.concatenate([one.lengths for one in stacks]),
        used=np.concatenate([one.used for one in stacks]),
        remaining=np.concatenate([one.remaining for one in stacks]),
        follows=None if all(one.follows is None for one in stacks) else np.concatenate(follows),
        renewed=None if all(one.renewed is None for one in stacks) else np.concatenate(renewed),
    )
