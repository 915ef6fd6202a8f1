"""What can go wrong, as a tree. Every message names the value, the rule, and the next step.

PipelineError             a broken contract: the day stops, the champion stays in service
├── ConfigError           pipelines.yaml or a command line is wrong; nothing was started
├── SourceError           the day's logs or catalogue are missing or cannot be read at all
├── ValidationFailed      a critical expectation failed; nothing of the day was published
├── LakeError             a Delta table holds what the accounting forbids
├── DriftError            profiles that cannot be compared
├── ModelError            base weights, adapter or head are missing, altered, or do not fit
├── EvaluationError       a metric or contest is undefined on the rows it was given
├── RegistryError         the registry or the journal contradicts itself
├── DiskFull              a file cannot be written for want of space; the same command continues
├── OrchestrationError    Prefect's server, a work pool or its workers did not do their part
└── Unavailable           a service does not answer, and may again: stages repeat it for a while
    ├── LakeUnavailable       (also a LakeError)
    ├── RegistryUnavailable   (also a RegistryError)
    └── ServerUnavailable     (also an OrchestrationError)

An expected outcome (no drift, champion kept) is a return value, never one of these.
"""


class PipelineError(Exception):
    """Base of every error that a user of Dayspring can cause or repair."""


class ConfigError(PipelineError):
    """pipelines.yaml or a command line is wrong; nothing was started."""


class SourceError(PipelineError):
    """The day's logs or the catalogue are missing, or cannot be read at all."""


class ValidationFailed(PipelineError):
    """A critical expectation failed; nothing of the day was published."""


class LakeError(PipelineError):
    """A Delta table holds what the accounting forbids."""


class DriftError(PipelineError):
    """Profiles that cannot be compared."""


class ModelError(PipelineError):
    """Base weights, adapter or head are missing, altered, or do not fit together."""


class EvaluationError(PipelineError):
    """A metric or a contest is undefined on the rows it was given."""


class RegistryError(PipelineError):
    """The registry or the journal contradicts itself."""


class DiskFull(PipelineError):
    """A stage could not write a file for want of space."""


class OrchestrationError(PipelineError):
    """Prefect's server, a work pool or its workers did not do their part."""


class Unavailable(PipelineError):
    """A service does not answer; it may be back, so stages repeat what needs it for a while."""


class LakeUnavailable(LakeError, Unavailable):
    """The object store of the lake does not answer, or refuses for the moment."""


class RegistryUnavailable(RegistryError, Unavailable):
    """The MLflow server does not answer, or fails for the moment."""


class ServerUnavailable(OrchestrationError, Unavailable):
    """Prefect's server does not answer, or fails for the moment."""
