"""What is kept of a ranker of texts beside its network: a classification head, and the calibration.

Shapes: B texts, W hidden width, N rows.
"""

import math
from typing import Literal

import torch
from torch import nn

from tasks.recommender.behaviour import PRIOR_RATE

Output = Literal["sigmoid", "softmax"]


class Readout(nn.Module):
    """From a ranking score to log-odds of a click: slope · score + offset + size_slope · log size."""

    slope: torch.Tensor
    offset: torch.Tensor
    size_slope: torch.Tensor

    def __init__(self, *, offset: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(1.0))
        self.register_buffer("offset", torch.tensor(offset))
        self.register_buffer("size_slope", torch.tensor(0.0))

    def log_odds(self, score_N: torch.Tensor, log_size_N: torch.Tensor) -> torch.Tensor:
        """(N,) of a click; in the order of the scores within each slate."""
        return self.slope * score_N + self.offset + self.size_slope * log_size_N


class Classifier(Readout):
    """A classification head over a text's mean hidden state: dense, tanh, dropout, output.

    The last layer is 0 at first, so the logit is exactly 0 before any training. `softmax` has two
    outputs that compete, whose log-odds are their difference:

        log(p_1 / p_0) = log(e^{z_1} / e^{z_0}) = z_1 − z_0

    Source: the classification heads of BERT, Devlin et al. (2019).
    """

    def __init__(self, width: int, output: Output, *, dropout: float = 0.0) -> None:
        super().__init__(offset=math.log(PRIOR_RATE / (1 - PRIOR_RATE)))
        self.dense = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, 2 if output == "softmax" else 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @property
    def untrained(self) -> bool:
        """Whether every text gets the same logit."""
        return not bool(self.out.weight.any())

    def outputs(self, pooled_BW: torch.Tensor) -> torch.Tensor:
        """(B, 1) or (B, 2) outputs, before sigmoid or softmax."""
        return self.out(self.dropout(torch.tanh(self.dense(self.dropout(pooled_BW)))))

    def forward(self, pooled_BW: torch.Tensor) -> torch.Tensor:
        """(B,) log-odds."""
        outputs = self.outputs(pooled_BW)
        return outputs[:, -1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]


def new_classifier(width: int, output: Output, *, seed: int, dropout: float = 0.0) -> Classifier:
    """An untrained head; the seed draws its dense layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(width, output, dropout=dropout)


def pool(hidden_BTW: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """(B, W) mean over each text's tokens, in float32."""
    weight = mask_BT.unsqueeze(-1).float()
    return (hidden_BTW.float() * weight).sum(1) / weight.sum(1)
