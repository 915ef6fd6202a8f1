"""Stage: few-shot fine-tuning of a challenger."""

from typing import TYPE_CHECKING

from tasks.references import Published, Trained
from tasks.stage import Clock, logger, stage
from tasks.workspace import Workspace

if TYPE_CHECKING:
    pass


@stage
def train(workspace: Workspace, published: Published) -> Trained:
    """Fine-tune from the zero-shot score on recent shots and replay; save adapter and head."""
    clock = Clock()
    trained = _train(workspace, published)
    logger.info(
        "%s  finetune   %s shots, %s rows/s, kept %s",
        published.day,
        f"{trained.summary['shots']:,}",
        f"{trained.summary['rows_per_second']:,.0f}",
        trained.summary["kept"],
    )
    return trained.model_copy(update={"seconds": clock.seconds})
