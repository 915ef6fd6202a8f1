"""How far what the shown texts are about has moved: mean, covariance, and distribution.

Shapes: D embedding width, P projected width.
"""

import math

import numpy as np

from tasks.drift import measures
from tasks.drift.effect import Effect
from tasks.drift.text import Floats, Text, apart


def measure(reference: Text | None, current: Text | None) -> list[Effect]:
    """The three distances; none where the two sides have no encoder in common."""
    if reference is None or current is None or not reference.rows or not current.rows:
        return []
    if (reference.encoder, reference.total.shape) != (current.encoder, current.total.shape):
        return []
    middle = (reference.covariance + current.covariance) / 2
    degrees = _effective(middle)
    return [
        _mean(reference, current, degrees),
        _covariance(reference, current, middle),
        _discrepancy(reference, current, degrees),
    ]


def _mean(reference: Text, current: Text, degrees: float) -> Effect:
    """‖Δ mean‖ / σ, σ² = E‖v - mean‖²: Cohen's d with one scale for all dimensions."""
    first, second = reference.total / reference.rows, current.total / current.rows
    scale = math.sqrt((reference.variance + current.variance) / 2)
    value = _ratio(float(np.linalg.norm(second - first)), scale)
    noise = math.sqrt(apart(reference, current)) if scale else 0.0
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    cosine = float(first @ second) / lengths if lengths else 1.0
    words = f"mean candidate moved {value:.2f} standard deviations, cosine {cosine:.3f}"
    return Effect("item_embedding", "standardised distance", value, noise, words, degrees)


def _covariance(reference: Text, current: Text, middle: Floats) -> Effect:
    """‖Δ C‖ / tr C of covariances C; if v is normal, E‖v vᵀ - C‖² = (tr C)² + ‖C‖²."""
    trace, squared = float(np.trace(middle)), float((middle * middle).sum())
    moved = float(np.linalg.norm(current.covariance - reference.covariance))
    noise = math.sqrt((trace**2 + squared) * apart(reference, current))
    value = _ratio(moved, trace)
    effective = _effective(middle)
    words = f"spread of candidates moved {value:.2f} of its size"
    # C varies by pairs of its eigenvalues: (e² + e) / 2 pairs of e effective ones
    pairs = max(effective * (effective + 1) / 2, 1.0)
    return Effect("item_covariance", "relative distance", value, _ratio(noise, trace), words, pairs)


def _discrepancy(reference: Text, current: Text, degrees: float) -> Effect:
    """MMD: ‖Δ mean φ‖ of random Fourier features φ; E‖φ - mean φ‖² = 1 - ‖mean φ‖²."""
    first, second = reference.features / reference.rows, current.features / current.rows
    variance = max(1 - (float(first @ first) + float(second @ second)) / 2, 0.0)
    noise = math.sqrt(variance * apart(reference, current))
    value = float(np.linalg.norm(second - first))
    words = f"candidates' texts differ by {value:.3f}, alike ones by {noise:.3f}"
    return Effect("item_mmd", "MMD", value, noise, words, degrees)


def _effective(covariance: Floats) -> float:
    """(tr C)² / tr C²: dimensions as if all varied alike."""
    return measures.effective_degrees(np.linalg.eigvalsh(covariance).astype(np.float64))


def _ratio(value: float, scale: float) -> float:
    return value / scale if scale > 0 else 0.0
