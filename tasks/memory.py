"""Exactly-once steps of a day: what the journal remembers is not computed again."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tasks.references import Published, Reference
from tasks.stage import Clock
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.registry.journal import Entry

Result = TypeVar("Result", bound=Reference)


def remembered(
    workspace: Workspace,
    published: Published,
    step: str,
    kind: type[Result],
    compute: Callable[[], Result],
    *,
    reason: Callable[[Result], str],
    event: Callable[[Result], str] | None = None,
    model_version: Callable[[Result], str | None] = lambda _: None,
) -> Result:
    """The result that the journal holds for this step of the day, else `compute`'s, now recorded.

    A repeat after a kill must not look at the world again: it may have moved on. The champion that a
    day was scored with, for one, is not the champion after that day's promotion.

    Args:
        step: names the entry, with the day, its revision and the attempt.
        reason: the entry's sentence.
        event: the entry's event; the step's name by default.
        model_version: the version that the entry is about.
    """
    from tasks.registry.journal import Outcome

    key = published.key(step)
    entry = workspace.journal.find(key)
    if entry is None:
        clock = Clock()
        result = compute()
        result = result.model_copy(update={"seconds": clock.seconds})
        outcome = Outcome(
            reason=reason(result),
            day=published.day,
            model_version=model_version(result),
            evidence=result.model_dump(mode="json"),
        )
        entry = workspace.journal.once(key, event(result) if event else step, lambda: outcome)
    return kind.model_validate(entry.evidence)


def recorded(workspace: Workspace, published: Published, step: str) -> "Entry":
    """The entry of a step that is done."""
    entry = workspace.journal.find(published.key(step))
    assert entry is not None, f"{step} is remembered before it is asked for"
    return entry
