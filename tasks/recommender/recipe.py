"""How a challenger is fine-tuned."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Every knob of `finetune`, with what turning it does."""

    head_epochs: int = 40
    """Most passes of the head over the shots; early stopping usually ends it before."""
    adapter_epochs: int = 2
    """Most passes of adapter and head together; 0 leaves the encoder as it was published."""
    learning_rate: float = 0.003
    """Of the head in the first phase; higher is faster and rougher."""
    adapter_learning_rate: float = 5e-4
    """Of the LoRA matrices; the head then learns at a tenth of `learning_rate`."""
    weight_decay: float = 0.2
    """AdamW's pull of the residual back to where it started, which is the zero-shot score."""
    dropout: float = 0.1
    """Of the head's standardised features."""
    warmup_share: float = 0.1
    """Of all steps, over which the learning rate rises from 0."""
    patience: int = 6
    """Epochs in a row with a validation AUC clearly below the best before a phase ends."""
    slates_per_step: int = 64
    """Impressions in one step of the head."""
    adapter_slates_per_step: int = 32
    """Impressions in one step of adapter and head."""
    adapter_negatives: int = 12
    """Skipped candidates drawn from each impression in an adapter step; clicks are all kept."""
    adapter_history: int = 20
    """Newest history entries that an adapter step encodes."""
    adapter_slates: int = 256
    """Most impressions, the newest, that the adapter phase trains on: it bounds the time where few
    items are shown often."""
    adapter_max_items: int = 2048
    """Distinct items that the adapter phase may encode: it bounds its time. The newest shots go
    first."""
    adapter_rank: int = 16
    """Rank of the LoRA matrices."""
    adapter_layers: int = 2
    """Layers adapted, from the top; those below are computed once."""
    seed: int = 17
    """Of shuffling, dropout, drawn negatives and initial weights."""
