"""Attention masks, as layers get them: additive or boolean, over tokens that come before the text.

Shapes: B texts, T queries, S keys, P tokens before the text.
"""

import torch


def see_before(mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """(..., P + S): as `mask` (..., S), and everything sees `tokens` keys before the first."""
    seen = 0 if mask.is_floating_point() else 1
    return torch.cat([mask.new_full((*mask.shape[:-1], tokens), seen), mask], -1)


def causal_mask(hidden_BTW: torch.Tensor) -> torch.Tensor | None:
    """(1, 1, T, T) boolean: each token sees itself and those before; None for one token alone."""
    length = hidden_BTW.shape[1]
    if length == 1:
        return None
    square = torch.ones(length, length, dtype=torch.bool, device=hidden_BTW.device)
    return square.tril()[None, None]


def lengthen(mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """`mask` for `tokens` more queries and keys before the text, which everything sees.

    The tokens see of the text what its first token sees: all of it, or under a causal mask that
    first token alone, so that nothing later leaks into what comes before it.
    """
    longer = see_before(mask, tokens)
    if mask.dim() < 4 or mask.shape[2] == 1:
        return longer  # one row of keys for all queries
    return torch.cat([longer[:, :, :1].expand(-1, -1, tokens, -1), longer], 2)
