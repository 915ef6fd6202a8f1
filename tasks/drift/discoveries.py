"""Which of many columns are unusual, so that false discoveries stay rare among them."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def discovered(chances: Floats, reach: Floats, level: float) -> npt.NDArray[np.bool_]:
    """Benjamini and Hochberg's step-up procedure for tests of which some can hardly ever reject.

    A column counts only if its shift is large enough to matter. Where usual days come nowhere near
    that, the column cannot raise a false alarm and needs no share of the level: of a limit t the
    column i spends min(t, reach_i), not t. The largest t is taken that spends, in sum, at most
    `level` times the number of chances up to it. With every reach 1, this is Benjamini-Hochberg.

    Args:
        chances: (M,) probability of so unusual an effect if nothing happened; 1 where the
            shift is too small to matter.
        reach: (M,) probability that a usual day shows a shift that is large enough.
        level: expected share of false ones among the discovered; if nothing happened anywhere,
            the probability that any is discovered.

    Returns:
        (M,) whether each is discovered.

    Source: Benjamini and Hochberg (1995); for heterogeneous null distributions Heyse (2011), A false
        discovery rate procedure for categorical data; the idea is Tarone's (1990).
    """
    limit = -1.0
    for candidate in np.unique(chances[chances < 1]):
        spent = float(np.minimum(candidate, reach).sum())
        if spent <= level * np.count_nonzero(chances <= candidate):
            limit = float(candidate)
    return np.asarray(chances <= limit)
