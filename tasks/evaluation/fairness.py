"""Whether the largest gap between groups widens: in how well their clicks are found, and in exposure.

Shapes: S impressions, U users, G groups, E entries of the evidence's exposure (one a slate and group).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.evaluation.impressions import Impressions, unnested
from tasks.evaluation.limits import FairnessLimits
from tasks.evaluation.noninferiority import pairs, ratios, widening
from tasks.evaluation.ruling import RuleVerdict, rule_on, too_few
from tasks.evaluation.slates import Floats, Ints, factorise, sum_by


@dataclass(frozen=True)
class Grouped:
    """The evidence's exposure by group."""

    names: list[str]
    """(G,)"""
    group: Ints
    """(E,) number of the entry's group."""
    slate: Ints
    """(E,) the impression it belongs to."""
    champion: Floats
    """(E,) share of the slate's exposure."""
    challenger: Floats
    share: Floats
    """(E,) share of the slate's candidates."""
    clicked: np.ndarray
    """(E,) whether one of the group's candidates was clicked."""


def fairness(
    evidence: pa.Table, judged: Impressions, limits: FairnessLimits, level: float
) -> Iterator[RuleVerdict]:
    """Two verdicts for each of `limits.groups`: on the gap in impression AUC, and in exposure.

    A group's AUC is the mean over the judged impressions in which one of its candidates was clicked.
    Its exposure is Σ exposure of its candidates / Σ their share of the slates, so 1 is what a random
    order gives to any group, however many candidates it has. The gap is the largest less the smallest
    over the groups of one kind ("category sports", "category finance") that are large enough; what is
    bounded is by how much it is wider under the challenger.

    Source: demographic parity of exposure: Singh & Joachims (KDD 2018).
    """
    entries = _grouped(evidence)
    counts = judged.judged[entries.slate] & entries.clicked
    slates = np.bincount(entries.group[counts], minlength=len(entries.names))
    large = slates / max(int(judged.judged.sum()), 1) >= limits.min_share
    for kind in limits.groups:
        of_kind = np.array([name.startswith(f"{kind} ") for name in entries.names], np.bool_)
        kept = np.flatnonzero(of_kind & large)
        if len(kept) < 2:
            yield _no_gap(kind, int(of_kind.sum()), limits)
        elif (least := slates[kept].min()) < limits.min_impressions or judged.num_users < 2:
            smallest = entries.names[kept[slates[kept].argmin()]]
            found = too_few(
                f"fairness by {kind}", int(least), judged.num_users, limits.min_impressions
            )
            yield replace(found, reason=f"{smallest} has {found.reason}")
        else:
            yield _auc_gap(kind, entries, judged, kept, limits.auc_margin, level)
            yield _exposure_gap(kind, entries, judged, kept, limits.exposure_margin, level)


def _auc_gap(
    kind: str, entries: Grouped, judged: Impressions, kept: Ints, margin: float, level: float
) -> RuleVerdict:
    chosen = entries.clicked & judged.judged[entries.slate]
    old, new = (
        np.where(chosen, auc[entries.slate], 0.0)
        for auc in (judged.champion_auc, judged.challenger_auc)
    )
    parts = (old, new, chosen.astype(np.float64))
    return _gap(f"AUC by {kind}", entries, judged, kept, parts, margin, level)


def _exposure_gap(
    kind: str, entries: Grouped, judged: Impressions, kept: Ints, margin: float, level: float
) -> RuleVerdict:
    parts = (entries.champion, entries.challenger, entries.share)
    return _gap(f"exposure by {kind}", entries, judged, kept, parts, margin, level)


def _gap(
    measure: str,
    entries: Grouped,
    judged: Impressions,
    kept: Ints,
    parts: tuple[Floats, Floats, Floats],
    margin: float,
    level: float,
) -> RuleVerdict:
    """The verdict on the gap of Σ champion / Σ below and of Σ challenger / Σ below over the groups."""
    old_UG, new_UG, below_UG = (_by_user(part, entries, judged)[:, kept] for part in parts)
    old, new = ratios(old_UG, below_UG), ratios(new_UG, below_UG)
    lowest, highest = (entries.names[kept[at]] for at in (new.value.argmin(), new.value.argmax()))
    counted = parts[2] > 0
    return rule_on(
        f"fairness of {measure}",
        f"gap of {np.ptp(new.value):.4f} between {lowest} and {highest}, wider by",
        widening(old, new, pairs(len(kept)), level),
        margin,
        more_is_better=False,
        impressions=len(np.unique(entries.slate[counted])),
        users=judged.num_users,
    )


def _by_user(values: Floats, entries: Grouped, judged: Impressions) -> Floats:
    """(U, G) sums of the entries' values."""
    num = len(entries.names)
    cell = judged.user[entries.slate] * num + entries.group
    return sum_by(cell, values, judged.num_users * num).reshape(-1, num)


def _grouped(evidence: pa.Table) -> Grouped:
    slate, entries = unnested(evidence["exposure"])
    fields = {name: pc.struct_field(entries, name) for name in entries.type.names}
    group, names = factorise(fields["group"], "group")
    return Grouped(
        names.to_pylist(),
        group,
        slate,
        fields["champion"].to_numpy(),
        fields["challenger"].to_numpy(),
        fields["share"].to_numpy(),
        fields["clicked"].to_numpy(zero_copy_only=False),
    )


def _no_gap(kind: str, num_groups: int, limits: FairnessLimits) -> RuleVerdict:
    """More days would not make the groups larger, so this does not keep a challenger waiting."""
    return RuleVerdict(
        f"fairness by {kind}",
        "not enough evidence",
        f"of {num_groups} groups fewer than two have {100 * limits.min_share:g} % of the impressions",
        decides=False,
    )
