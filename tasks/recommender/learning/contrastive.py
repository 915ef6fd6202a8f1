"""Terms that compare vectors: a user with the item that was clicked, an item's text with itself.

Shapes: N rows, S slates, P clicks, K distinct candidate items, I texts, D width.
"""

import torch
from torch.nn.functional import cross_entropy

from tasks.recommender.learning.step import Affinity
from tasks.recommender.recipe import Contrast


def info_nce(
    affinity: Affinity,
    clicked_N: torch.Tensor,
    slate_N: torch.Tensor,
    weight_N: torch.Tensor,
    contrast: Contrast,
) -> torch.Tensor:
    """Mean over clicks of −log exp(u·v / τ) / (exp(u·v / τ) + Σ_k exp(u·v_k / τ)).

    u is the user, v the clicked item, and k runs over the step's other candidate items: those of the
    same slate and of all others, or the `hard_negatives` of them that are most similar to u. An item
    that another user was shown as well is the same item here, so it is never its own negative, and
    whatever else u clicked in the slate is none either. Users and items without a text are left out.

    Source: van den Oord et al. (2018), Representation learning with contrastive predictive coding.
    """
    users, items, item = affinity
    readable_K = items.detach().any(1)
    click = (clicked_N > 0) & users.detach().any(1)[slate_N] & readable_K[item]
    user_P, item_P = slate_N[click], item[click]
    if not len(user_P):
        return users.sum() * 0
    clicked_SK = torch.zeros((len(users), len(items)), dtype=torch.bool, device=users.device)
    clicked_SK[slate_N[clicked_N > 0], item[clicked_N > 0]] = True
    near_PK = users[user_P] @ items.T / contrast.temperature
    near_P1 = near_PK.gather(1, item_P.unsqueeze(1))
    others_PK = near_PK.masked_fill(clicked_SK[user_P] | ~readable_K, -torch.inf)
    if contrast.hard_negatives:
        others_PK = others_PK.topk(min(contrast.hard_negatives, len(items)), dim=1).values
    loss_P = torch.cat([near_P1, others_PK], dim=1).logsumexp(1) - near_P1.squeeze(1)
    return (weight_N[click] * loss_P).mean()


def simcse(first_ID: torch.Tensor, second_ID: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over texts of −log exp(f_i·s_i / τ) / Σ_j exp(f_i·s_j / τ).

    f and s are the same distinct texts, each under its own dropout.

    Source: Gao et al. (2021), SimCSE: simple contrastive learning of sentence embeddings.
    """
    near_II = first_ID @ second_ID.T / temperature
    return cross_entropy(near_II, torch.arange(len(near_II), device=near_II.device))
