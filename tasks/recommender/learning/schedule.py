"""How the learning rate moves over a run: a pure function from a step to a share of its peak.

With t the step from 0, n all steps, r = max(1, round(n · warmup_share)) those of the warm-up,
p = (t − r) / (n − r) what is done of the rest, m the floor and c the cycles:

    t < r:       (t + 1) / r
    constant:    1
    linear:      m + (1 − m) (1 − p)
    cosine:      m + (1 − m) (1 + cos π p) / 2              (Loshchilov and Hutter 2017, SGDR)
    cyclical:    m + (1 − m) |1 − ((2c − 1) p mod 2)|       (Smith 2017, the triangular policy)

The warm-up is the first of the c rises, so that all but the constant one end at the floor.
"""

from math import cos, pi

from tasks.recommender.recipe import Optimization


def rate_factor(step: int, total_steps: int, optimization: Optimization) -> float:
    """Share of the peak learning rate at which step `step`, from 0, of `total_steps` is made.

    Returns:
        In [0, 1]; 1 where the warm-up ends. A step past the last is made as if it were p = 1.
    """
    rise = max(1, round(total_steps * optimization.warmup_share))
    if step < rise:
        return (step + 1) / rise
    done = min(1.0, (step - rise) / max(1, total_steps - rise))
    floor = optimization.floor_share
    return floor + (1 - floor) * _height(done, optimization)


def _height(done: float, optimization: Optimization) -> float:
    """Where a share `done` of all steps after the warm-up is over: 1 at the peak, 0 at the floor."""
    if optimization.schedule == "constant":
        return 1.0
    if optimization.schedule == "linear":
        return 1 - done
    if optimization.schedule == "cosine":
        return (1 + cos(pi * done)) / 2
    return abs(1 - (2 * optimization.cycles - 1) * done % 2)
