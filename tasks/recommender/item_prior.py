"""What everyone thinks of items like this one: a Gaussian process over item texts.

    o(item) ~ GP(0, k),  k(e, e') = exp(γ (e · e' − 1))

By Nyström's approximation it is linear in φ(e) = K_LL^(−1/2) k(L, e) with weights of unit prior, L being
landmarks. An item that nobody has rated is read off those with similar texts.

Only where histories log dislikes, or candidates come alone with both labels: there an opinion
lasts. What is clicked in slates changes by the hour, and the behaviour statistics follow it.

Shapes: I items, L landmarks, D embedding width.

Source: Williams and Seeger (2001), Nyström; Rasmussen and Williams (2006), Gaussian processes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

SHARPNESS = 4.0
"""γ: an item at cosine 0.8 weighs 0.45 of the item itself, one at 0.3 a sixteenth."""
MAX_LANDMARKS = 768
"""Bounds what a version stores: 1.2 MB at 384 numbers each."""
SMALLEST = 1e-4
"""Eigenvalues of K_LL below this share of the largest are noise."""


class ItemPrior(nn.Module):
    """φ for some landmarks. It has nothing to learn, and what it has follows from the landmarks."""

    landmarks: torch.Tensor
    root: torch.Tensor

    def __init__(self, landmarks_LD: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("landmarks", landmarks_LD.float(), persistent=False)
        root_LL = _inverse_root(self.landmarks.cpu()).to(landmarks_LD.device)
        self.register_buffer("root", root_LL, persistent=False)

    def read(self, vectors_ID: torch.Tensor) -> torch.Tensor:
        """(I, L) φ of some items; zeros for one without text."""
        known = vectors_ID.any(1, keepdim=True)
        return _kernel(vectors_ID, self.landmarks) @ self.root * known


def choose_landmarks(candidate: NDArray[np.int64], most: int = MAX_LANDMARKS) -> NDArray[np.int64]:
    """At most `most` of the items that are judged in the shots, those judged oftenest first."""
    items, times = np.unique(candidate, return_counts=True)
    return items[np.lexsort((items, -times))[:most]]


def _inverse_root(landmarks_LD: torch.Tensor) -> torch.Tensor:
    """(L, L) K_LL^(−1/2), the symmetric one.

    Another root differs by a rotation that each machine's eigenvectors choose, and weights that were
    stored under one would mean something else under another.
    """
    values, basis = torch.linalg.eigh(_kernel(landmarks_LD, landmarks_LD).double())
    usable = values > SMALLEST * values.max()
    scale = torch.where(usable, values.clamp(min=1e-12).rsqrt(), torch.zeros_like(values))
    return ((basis * scale) @ basis.T).float()


def _kernel(left_ID: torch.Tensor, right_LD: torch.Tensor) -> torch.Tensor:
    return (SHARPNESS * (left_ID @ right_LD.T - 1)).exp()
