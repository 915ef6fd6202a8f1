"""How likely a click is before the ranking is looked at: for objectives that judge a candidate alone.

The head only ranks, so its score has no constant: within a slate one would cancel. Cross-entropy
of each candidate needs one, or it would bend the ranking until the mean is right. It is trained beside
the head and dropped afterwards, for calibration fits its own on the validation.

Shapes: N rows.
"""

import torch
from torch import nn

from tasks.recommender.head import Features, HybridHead


class Level(nn.Module):
    """level = constant + slope · log(slate size / typical size): one of many is clicked less often."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(()))
        self.slope = nn.Parameter(torch.zeros(()))

    def forward(self, features: Features) -> torch.Tensor:
        """(N,) log-odds to add to the ranking's score."""
        return self.constant + self.slope * features.log_size


def no_level(device: torch.device) -> Level:
    """A level of 0 that stays: for objectives in which a constant cancels."""
    return Level().to(device).requires_grad_(requires_grad=False)


@torch.no_grad()
def new_level(head: HybridHead, features: Features, clicked_N: torch.Tensor) -> Level:
    """A level to train: at first, the mean candidate has the odds of all rows together."""
    head.eval()
    level = Level().to(clicked_N.device)
    # Half a click and half a skip more keep the odds finite.
    odds = (clicked_N.sum() + 0.5) / ((1 - clicked_N).sum() + 0.5)
    level.constant.copy_(odds.log() - head.rank(features).mean())
    return level
