"""Fine-tuning in the day's own process, or handed to the workers of a pool.

Nothing comes back through Prefect: a worker records its version in the journal, and there it is
found. Prefect knows what a run last reported; that its worker lives, the lease that it holds says.
So a run whose worker died is found at once on this machine, after the lease's time elsewhere, and
given to another worker.
"""

import hashlib
import math
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from flows.finetune import finetune
from flows.server import prefect_client, require_server, wait_for_server
from tasks import errors
from tasks.errors import ConfigError, OrchestrationError, PipelineError, Unavailable
from tasks.references import Challenger, Published, Trigger
from tasks.register import registered
from tasks.stage import logger, patiently
from tasks.workspace import TRAINING, Workspace

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State, StateType

    from tasks.registry.lease import Holder, Leases

ATTEMPTS = 3
"""Workers that may die over one day; more is no accident, such as too little memory."""

POLL_SECONDS = 1.0

SILENT_SECONDS = 120.0
"""A run that Prefect calls running takes the lease within this, also from one who died with it."""

UNCLAIMED_SECONDS = 900.0
"""A run that Prefect calls pending has started by then: an image is large, a node slow to come."""

PURPOSE = "compute.pool needs"


def fine_tune(
    workspace: Workspace, config_file: Path, published: Published, trigger: Trigger
) -> Challenger:
    """The day's challenger, trained where `compute.pool` says; the same either way."""
    if workspace.config.compute.pool:
        return _hand_over(workspace, published, trigger)
    wait_for_server()
    return finetune(workspace.name, config_file, published, trigger)


def _hand_over(workspace: Workspace, published: Published, trigger: Trigger) -> Challenger:
    """Let a worker of the pool train and register the challenger; wait for it.

    Raises:
        ConfigError: there is no server, or no deployment on it.
        OrchestrationError: no worker finished in time, or several died.
        PipelineError: what the worker's run failed with.
    """
    if (challenger := patiently(registered, workspace, published)) is not None:
        return challenger
    deadline = time.monotonic() + 60 * workspace.config.compute.wait_minutes
    vigil = _Vigil(workspace.leases)
    for _ in range(ATTEMPTS):
        run = _persist(lambda: _start_watched(workspace, published, trigger, vigil), deadline)
        logger.debug("%s  finetune   run %s in the pool", published.day, run.name)
        challenger = _wait(workspace, published, run, vigil, deadline)
        if challenger is not None:
            logger.info("%s  finetune   by a worker, run %s", published.day, run.name)
            return challenger
        logger.warning("%s  finetune   the worker of run %s died", published.day, run.name)
    pool = workspace.config.compute.pool
    raise OrchestrationError(
        f"{ATTEMPTS} workers of the pool {pool} died while they fine-tuned {workspace.name} "
        f"{published.day}; {ATTEMPTS} are tried. Their machines' logs say why, too little memory "
        "often; then repeat this run."
    )


def _persist(ask: "Callable[[], FlowRun]", deadline: float) -> "FlowRun":
    """What a service answers, however often it has to be asked until the time is up."""
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def _start_watched(
    workspace: Workspace, published: Published, trigger: Trigger, vigil: "_Vigil"
) -> "FlowRun":
    vigil.begin()  # before the run can take the lease
    return _start(workspace, published, trigger)


def _start(workspace: Workspace, published: Published, trigger: Trigger) -> "FlowRun":
    """A run that is not over: the one that an earlier attempt of this day left, else a new one."""
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    name = f"finetune/{workspace.name}"
    url = require_server(PURPOSE)
    parameters = {
        "published": published.model_dump(mode="json"),
        "trigger": trigger.model_dump(mode="json"),
    }
    # The journal's key says which run of the day, the digest of what lake: a lake may be made anew.
    digest = hashlib.sha256(published.model_dump_json().encode()).hexdigest()[:12]
    key = f"{workspace.name}/{published.key('finetune')}/{digest}"
    with prefect_client(PURPOSE):
        for number in count(1):
            try:
                run = run_deployment(
                    name, parameters=parameters, timeout=0, idempotency_key=f"{key}/{number}"
                )
            except ObjectNotFound:
                raise ConfigError(
                    f"compute.pool is {workspace.config.compute.pool}, but the Prefect server {url} "
                    f"has no deployment {name}. Make it: dayspring deploy {workspace.name}."
                ) from None
            if not run.state.is_final():
                break
    return run


def _wait(
    workspace: Workspace, published: Published, run: "FlowRun", vigil: "_Vigil", deadline: float
) -> Challenger | None:
    """The challenger, once the journal has it; None if the run's worker died.

    A service that does not answer for a while is asked again until the time is up.
    """
    while time.monotonic() < deadline:
        with suppress(Unavailable):
            if (challenger := registered(workspace, published)) is not None:
                return challenger
            state = _state(run)
            if state.is_completed():
                return _journalled(workspace, published, run)
            if state.is_failed():
                raise _failure(workspace, run, state)
            if state.is_cancelled() or state.is_cancelling():
                raise OrchestrationError(
                    f"The fine-tuning of {workspace.name} {published.day} was cancelled in Prefect, "
                    f"run {run.name}. Repeat this run when it may go on."
                )
            if state.is_crashed():
                return None
            if vigil.finds_dead(state):
                _mark_crashed(run)
                return None
        time.sleep(POLL_SECONDS)
    raise _out_of_time(workspace, published, run)


def _state(run: "FlowRun") -> "State":
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with prefect_client(PURPOSE) as client:
        try:
            return client.read_flow_run(run.id).state
        except ObjectNotFound:
            return Crashed(message="The run was deleted.")


def _journalled(workspace: Workspace, published: Published, run: "FlowRun") -> Challenger:
    """The challenger of a run that is over: recorded before it ended, or never in this lake."""
    if (challenger := registered(workspace, published)) is not None:
        return challenger
    raise OrchestrationError(
        f"The fine-tuning run {run.name} ended well, but {workspace.lake.root} has no journal entry "
        f"{published.key('trained')}: its worker has another home or services.lake. Let both have "
        "the same, then repeat this run."
    )


def _failure(workspace: Workspace, run: "FlowRun", state: "State") -> PipelineError:
    """What the worker's run failed with, as if it had been raised here."""
    message = str(state.message).removeprefix("Flow run encountered an exception: ")
    name, _, text = message.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, PipelineError):
        return kind(text)
    return OrchestrationError(
        f"The fine-tuning in the pool {workspace.config.compute.pool} failed: {message}. The log of "
        f"the flow run {run.name} says more; then repeat this run."
    )


def _mark_crashed(run: "FlowRun") -> None:
    """Tell Prefect what it cannot know; this also gives the deployment's place to the next run."""
    from prefect.states import Crashed

    with prefect_client(PURPOSE) as client:
        message = "Found dead by its lease: the worker's process is gone, or shows no sign of life."
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def _out_of_time(workspace: Workspace, published: Published, run: "FlowRun") -> OrchestrationError:
    """Cancel the run, so that it does not hold the pool's place; say what was waited for."""
    from prefect.states import Cancelled, Cancelling

    compute = workspace.config.compute
    rule = f"within {compute.wait_minutes:g} minutes (compute.wait_minutes)"
    what = f"{workspace.name} {published.day}, run {run.name}"
    with prefect_client(PURPOSE) as client:
        started = client.read_flow_run(run.id).start_time is not None
        # A worker that is at it ends its process when it sees that the run is being cancelled.
        client.set_flow_run_state(run.id, Cancelling() if started else Cancelled(), force=True)
    if started:
        return OrchestrationError(
            f"The pool {compute.pool} did not finish the fine-tuning of {what}, {rule}; it was "
            "cancelled. Raise compute.wait_minutes, or see the run's log for what took so long."
        )
    return OrchestrationError(
        f"No worker of the pool {compute.pool} took the fine-tuning of {what}, {rule}; it was "
        f"cancelled. Start one: prefect worker start --pool {compute.pool}. Then repeat this run."
    )


class _Vigil:
    """Tells that a run's worker is dead, whatever Prefect last heard of it."""

    def __init__(self, leases: "Leases") -> None:
        from tasks.registry.lease import Watch

        self._leases, self._watch = leases, Watch()

    def begin(self) -> None:
        """Watch over another run, which has not taken the lease yet."""
        holder = self._leases.holder(TRAINING)
        self._term_before = holder.term if holder is not None else 0
        self._seen_working = False
        self._type: StateType | None = None
        self._silent_since = time.monotonic()

    def finds_dead(self, state: "State") -> bool:
        """Whether a run in `state` has no living worker, so far as its lease can tell."""
        if state.type != self._type:
            self._type, self._silent_since = state.type, time.monotonic()
        if state.is_running():
            holder = self._leases.holder(TRAINING)
            if holder is not None and not self._watch.is_dead(holder):
                self._seen_working, self._silent_since = True, time.monotonic()
            elif holder is not None and not holder.released and self._was_at_it(holder):
                return True
        # It has not taken the lease yet, or has given it back and will report at once.
        silence = time.monotonic() - self._silent_since
        patience = {"RUNNING": SILENT_SECONDS, "PENDING": UNCLAIMED_SECONDS}
        return silence > patience.get(state.type.value, math.inf)

    def _was_at_it(self, holder: "Holder") -> bool:
        """Whether the dead holder was this run's worker, not one before it."""
        return self._seen_working or holder.term > self._term_before
