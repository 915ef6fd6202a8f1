"""How a challenger is fine-tuned: every knob, what turning it does, and where it comes from.

The blocks are plain frozen dataclasses; `pipelines.yaml` names them by the same words.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tasks.knobs import STRICT, Digits

Share = Annotated[float, Field(ge=0, le=1), Digits]
Weight = Annotated[float, Field(ge=0), Digits]
"""Of a term in the loss; 0 leaves it out."""
Rate = Annotated[float, Field(gt=0), Digits]
Count = Annotated[int, Field(ge=1), Digits]
Whole = Annotated[int, Field(ge=0), Digits]


# What is trained of the pretrained network ----------------------------------------------------


@dataclass(frozen=True)
class HeadOnly:
    """Nothing: only the head learns, over an encoder as it was published."""

    __pydantic_config__ = STRICT
    method: Literal["head"] = "head"


@dataclass(frozen=True)
class Full:
    """All weights. Forgets most, costs most."""

    __pydantic_config__ = STRICT
    method: Literal["full"] = "full"


@dataclass(frozen=True)
class TopLayers:
    """All weights of the top layers; those below are computed once."""

    __pydantic_config__ = STRICT
    method: Literal["top_layers"] = "top_layers"
    layers: Count = 2
    """How many, from the top."""


@dataclass(frozen=True)
class Lora:
    """Low-rank matrices beside frozen weights: W + α/r · B A, B = 0 at first (Hu et al. 2021)."""

    __pydantic_config__ = STRICT
    method: Literal["lora"] = "lora"
    rank: Count = 16
    """r: columns of B and rows of A."""
    alpha: Count = 32
    """Scale of the learned part, over r."""
    dropout: Share = 0.0
    """Of what the matrices read."""
    layers: Count = 2
    """Layers, from the top, whose query and value projections are adapted."""


@dataclass(frozen=True)
class AdaLora:
    """LoRA as P Λ Q whose rank is pruned where it matters least (Zhang et al. 2023)."""

    __pydantic_config__ = STRICT
    method: Literal["adalora"] = "adalora"
    start_rank: Count = 24
    """Rank of every matrix at first."""
    rank: Count = 16
    """Mean rank that is left at the end."""
    alpha: Count = 32
    """Scale of the learned part, over the rank."""
    layers: Count = 2
    """Layers, from the top, that are adapted."""


@dataclass(frozen=True)
class IA3:
    """Learned factors on keys, values and the feed-forward network, 1 at first (Liu et al. 2022)."""

    __pydantic_config__ = STRICT
    method: Literal["ia3"] = "ia3"
    layers: Count = 2
    """Layers, from the top, that are scaled."""


@dataclass(frozen=True)
class Prefix:
    """Learned keys and values before those of the text, in every layer (Li and Liang 2021)."""

    __pydantic_config__ = STRICT
    method: Literal["prefix"] = "prefix"
    tokens: Count = 8
    """Length of the prefix."""


@dataclass(frozen=True)
class PromptTuning:
    """Learned embeddings before those of the text (Lester et al. 2021)."""

    __pydantic_config__ = STRICT
    method: Literal["prompt_tuning"] = "prompt_tuning"
    tokens: Count = 8
    """How many."""


@dataclass(frozen=True)
class PTuning:
    """Prompt tuning whose embeddings come out of a small network (Liu et al. 2021)."""

    __pydantic_config__ = STRICT
    method: Literal["p_tuning"] = "p_tuning"
    tokens: Count = 8
    """How many."""
    hidden: Count = 128
    """Width of the network."""


@dataclass(frozen=True)
class Bottleneck:
    """Two small projections after each layer's sub-blocks, 0 at first (Houlsby et al. 2019)."""

    __pydantic_config__ = STRICT
    method: Literal["bottleneck"] = "bottleneck"
    width: Count = 48
    """Width in the middle."""
    layers: Count = 2
    """Layers, from the top, that get adapters."""


Tuning = Annotated[
    HeadOnly
    | Full
    | TopLayers
    | Lora
    | AdaLora
    | IA3
    | Prefix
    | PromptTuning
    | PTuning
    | Bottleneck,
    Field(discriminator="method"),
]


# How it is trained ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimization:
    """Optimizer and steps."""

    __pydantic_config__ = STRICT
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov momentum 0.9."""
    learning_rate: Rate = 0.003
    """Of the head; higher is faster and rougher."""
    encoder_learning_rate: Rate = 5e-4
    """Of what `tuning` trains in the network; the head then learns at a tenth of its own."""
    schedule: Literal["constant", "linear", "cosine", "cyclical"] = "linear"
    """After the warm-up: unchanged, falling in a line, in half a cosine, or up and down again."""
    warmup_share: Share = 0.1
    """Of all steps, over which the learning rate rises from 0."""
    floor_share: Share = 0.1
    """Of the learning rate, to which it falls."""
    cycles: Count = 3
    """Rises and falls of the cyclical schedule (Smith 2017)."""
    weight_decay: Weight = 0.0
    """Decoupled pull of what is trained towards 0; `l2_sp` pulls towards the start instead."""
    dropout: Share = 0.1
    """Of the head's standardised features."""
    clip_norm: Weight = 0.0
    """Longest gradient of a step; longer ones are shortened to it. 0 never clips."""
    accumulate: Count = 1
    """Steps whose gradients are added before the optimizer moves: larger batches, same memory."""
    mixed_precision: bool = False
    """Compute the network's steps in bfloat16 while its trained weights stay in float32."""
    patience: Count = 6
    """Epochs in a row with a validation AUC clearly below the best before a phase ends."""


@dataclass(frozen=True)
class Objective:
    """What a step minimises on the labels."""

    __pydantic_config__ = STRICT
    loss: Literal["listwise", "pointwise", "bpr"] = "listwise"
    """Softmax over each impression, cross-entropy of each candidate, or pairs (BPR)."""
    label_smoothing: Share = 0.0
    """Share of each label that is spread over the others (Szegedy et al. 2016)."""


@dataclass(frozen=True)
class Regularize:
    """Terms against overfitting the shots and forgetting what was known."""

    __pydantic_config__ = STRICT
    l2_sp: Weight = 0.2
    """Decoupled pull towards where training started (Li et al. 2018)."""
    ewc: Weight = 0.0
    """The same, weighted by each weight's Fisher information on the start (Kirkpatrick et al. 2017)."""
    distill: Weight = 0.0
    """Divergence from the start's ranking of each slate (Hinton et al. 2015)."""
    distill_temperature: Rate = 2.0
    """Softens both rankings before they are compared."""
    r_drop: Weight = 0.0
    """Divergence between two passes with different dropout (Liang et al. 2021)."""


@dataclass(frozen=True)
class Adversarial:
    """Training on inputs moved where the loss rises fastest."""

    __pydantic_config__ = STRICT
    method: Literal["none", "fgm", "pgd", "freelb"] = "none"
    """FGM (Miyato et al. 2017), PGD (Madry et al. 2018), FreeLB (Zhu et al. 2020)."""
    epsilon: Rate = 0.1
    """Longest perturbation, as a share of each embedding's length."""
    steps: Count = 3
    """Ascents of PGD and FreeLB."""
    step_size: Rate = 0.05
    """Length of one ascent, as a share of each embedding's length."""


@dataclass(frozen=True)
class Contrast:
    """Contrastive terms beside the objective."""

    __pydantic_config__ = STRICT
    info_nce: Weight = 0.0
    """User to clicked item, against the step's other items (van den Oord et al. 2018)."""
    hard_negatives: Whole = 0
    """Items most similar to the user, not clicked, that count besides; 0 takes all in the batch."""
    simcse: Weight = 0.0
    """An item's text to itself under other dropout (Gao et al. 2021)."""
    temperature: Rate = 0.05
    """Lower looks at the closest negatives only."""


@dataclass(frozen=True)
class Augment:
    """Altered copies of the shots' texts; labels stay."""

    __pydantic_config__ = STRICT
    copies: Whole = 0
    """Altered copies of each shot; 0 trains on the logged texts alone."""
    token_dropout: Share = 0.0
    """Share of a text's words that a copy leaves out."""
    synonyms: Share = 0.0
    """Share of a text's words that a copy replaces."""
    synonyms_from: Literal["neighbours", "masked_lm"] = "neighbours"
    """The nearest words in the encoder's own embeddings, or what a masked LM would fill in."""
    masked_lm: str = ""
    """The masked LM, by path or name."""
    back_translation: tuple[str, str] | None = None
    """Two translation models, there and back, by path or name."""


# Which labels it sees -------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """Which impressions become shots, and which of their skips are kept."""

    __pydantic_config__ = STRICT
    policy: Literal["recent", "random", "balanced", "drift", "uncertain", "k_center"] = "recent"
    """The newest; any; as many of each class or category; those of what drifted; those the start is
    least sure of; or a cover of the embedding space (Sener and Savarese 2018)."""
    negatives: Whole = 0
    """Skips kept for each click; 0 keeps all."""
    hardness: Share = 0.0
    """0 draws the kept skips evenly; 1 takes those that the start ranks highest. Against those alone
    what the start does well looks wrong: it cost the head 0.04 to 0.07 of AUC on MIND."""
    replay: Literal["random", "herding"] = "random"
    """How replayed shots are drawn: evenly, or so that their mean stays that of all (ADER, Mi et al.
    2020; Welling 2009)."""


@dataclass(frozen=True)
class Unlabelled:
    """What is learned without labels."""

    __pydantic_config__ = STRICT
    pretrain: Literal["none", "masked_lm", "contrastive"] = "none"
    """Adaptation to the catalogue's texts before any shot (Gururangan et al. 2020)."""
    pretrain_epochs: Count = 1
    """Passes over the catalogue."""
    pretrain_items: Count = 4096
    """Most texts that it reads: it bounds the time."""
    pseudo_labels: Annotated[float, Field(ge=0, lt=1), Digits] = 0.0
    """Least confidence of the start at which its own answer to an impression that was not drawn becomes
    a label (Lee 2013); 0: never. It takes a `warm_start`: the zero-shot score is not calibrated."""


# The ranker -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hybrid:
    """Text match, behaviour statistics and a small head over both."""

    __pydantic_config__ = STRICT
    kind: Literal["hybrid"] = "hybrid"


@dataclass(frozen=True)
class CrossEncoder:
    """Sequence classification over user and item as one text."""

    __pydantic_config__ = STRICT
    kind: Literal["cross_encoder"] = "cross_encoder"
    history: Whole = 10
    """Newest liked titles in the text; 0 leaves the user out."""
    output: Literal["sigmoid", "softmax"] = "sigmoid"
    """One logit, or two that compete."""
    max_tokens: Count = 128
    """Longer texts lose their oldest history first."""


@dataclass(frozen=True)
class Prompt:
    """A question put to a language model; the odds of its answers are the score."""

    __pydantic_config__ = STRICT
    kind: Literal["prompt"] = "prompt"
    template: str = "movie"
    """A packaged template's name, or the path of a YAML file of one."""
    mode: Literal["zero_shot", "in_context", "tuned"] = "tuned"
    """Ask; ask after worked examples; or tune on the shots, then ask."""
    examples: Count = 4
    """Worked examples of `in_context`."""
    history: Whole = 10
    """Newest liked and disliked titles in the question."""
    max_tokens: Count = 256
    """Longer questions lose examples first, then the oldest history."""


RankerKind = Annotated[Hybrid | CrossEncoder | Prompt, Field(discriminator="kind")]


@dataclass(frozen=True)
class Recipe:
    """Every knob of `finetune`."""

    __pydantic_config__ = STRICT
    ranker: RankerKind = Hybrid()
    """What scores."""
    tuning: Tuning = HeadOnly()
    """What is trained of the pretrained network. Few shots rank as well under a published one
    (docs/fine-tuning.md), which costs seconds; `cross_encoder` and a tuned `prompt` need another method."""
    head_fit: Literal["map", "steps"] = "map"
    """The most probable head given the shots, in one convex fit; or the optimizer's steps with early
    stopping on the validation. The fit takes nothing from `optimization`, and its prior stands in for
    `l2_sp`."""
    wave_precisions: Annotated[tuple[Rate, ...], Field(min_length=1)] = (100.0, 1.0)
    """Of the prior of what is not linear in the fit: higher keeps the head nearer to a line through each
    feature. The fits under each are averaged."""
    learn_validation: bool = True
    """When the validation has judged the fit, learn from it too: it is the newest there is. The network and
    the optimizer's steps do not."""
    memory: Share = 1.0
    """Of what a warm start's head has learned, how surely it is still believed: 1 as if its shots were among
    these, 0 as little as the zero-shot score. Below 1, older days fade."""
    head_epochs: Whole = 40
    """Most passes of the head over the shots; the fit has usually converged before."""
    adapter_epochs: Whole = 2
    """Most passes that train the network; 0 leaves it as it was published."""
    optimization: Optimization = Optimization()
    objective: Objective = Objective()
    regularize: Regularize = Regularize()
    adversarial: Adversarial = Adversarial()
    contrast: Contrast = Contrast()
    augment: Augment = Augment()
    selection: Selection = Selection()
    unlabelled: Unlabelled = Unlabelled()
    propensity: bool = False
    """Weigh clicks by the inverse of their position's estimated examination propensity, in training, in
    what is chosen by the validation, and in the contest."""
    long_short: bool = False
    """Train a short-term adapter on the newest quarter of the shots beside the champion's, and merge as
    the validation says (LSAT)."""
    slates_per_step: Count = 64
    """Impressions in one step of the head."""
    adapter_slates_per_step: Count = 32
    """Impressions in one step that trains the network."""
    adapter_negatives: Count = 12
    """Skipped candidates drawn from each impression in such a step; clicks are all kept."""
    adapter_history: Count = 20
    """Newest history entries that such a step encodes."""
    adapter_slates: Count = 256
    """Most impressions, the newest, that the network trains on: it bounds the time where few
    items are shown often."""
    adapter_max_items: Count = 2048
    """Distinct items that the network may encode: it bounds its time. The newest shots go first."""
    seed: Annotated[int, Digits] = 17
    """Of shuffling, dropout, drawn negatives and initial weights."""
