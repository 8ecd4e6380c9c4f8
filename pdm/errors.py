"""Errors that people or other systems see.

PdmError
├── ConfigurationError     a file or setting is wrong: names file, line, key and what was expected
│   └── ConfigurationFileError everything that is wrong with one file, together
├── UnreadableMessageError a message cannot be read: carries the reason code under which it becomes a dead letter
├── NotFoundError          no such asset, alert, intervention, ...
├── ConflictError          the record has moved on, or the request contradicts it
├── StoreError             a store did not answer or is full; trying again can help
│   ├── DamagedRecordError a stored record fails its checksum; trying again does not help
│   ├── TakenError         another process has what only one may have
│   ├── BusyStoreError     it asks to wait, perhaps for so long
│   ├── FailedWriteError   it failed on what it was given, and may do so again on the same
│   └── RefusedWriteError  something of what it was given can never be written; says the reason code
├── DeliveryError          a message did not reach its route; says whether trying again helps
└── ModelError             a trained model cannot be used
    ├── DamagedModelError  its files do not match their manifest, or it does not reproduce its golden rows
    └── ForeignModelError  it was made for another class of machine or from lives of another plant
"""

from collections.abc import Sequence


class PdmError(Exception):
    """Base of all errors of this package."""

    retry_helps = False


class ConfigurationError(PdmError):
    """A file or setting is wrong.

    Args:
        message: what is wrong and what was expected, in one sentence.
        file: the file it stands in, as the user named it.
        line: 1-based line, if known.
        key: dotted path of the key, for example `classes.pump.sensors.flow.unit`.
    """

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None, key: str | None = None):
        place = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(": ".join(part for part in (place, key, message) if part))
        self.message = message
        self.file = file
        self.line = line
        self.key = key


class ConfigurationFileError(ConfigurationError):
    """Everything that is wrong with one file: `errors` in the order of its lines, a message with one line for each."""

    def __init__(self, errors: Sequence[ConfigurationError]):
        self.errors = tuple(sorted(errors, key=lambda error: error.line or 0))
        super().__init__("\n".join(str(error) for error in self.errors))
        self.file = self.errors[0].file


class UnreadableMessageError(PdmError):
    """A message cannot be read; `reason` is the stable code that its dead letter carries."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class NotFoundError(PdmError):
    """There is no such record."""


class ConflictError(PdmError):
    """The record has moved on since it was read, or the request contradicts it."""


class StoreError(PdmError):
    """A store did not answer or is full."""

    retry_helps = True


class DamagedRecordError(StoreError):
    """A stored record fails its checksum."""

    retry_helps = False


class TakenError(StoreError):
    """Another process has what only one may have at a time."""


class BusyStoreError(StoreError):
    """A store asks to wait; `retry_after_s` says how long, None if it does not say."""

    def __init__(self, message: str, retry_after_s: float | None):
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FailedWriteError(StoreError):
    """A store failed on what it was given. If it always does so on the same, that is the cause."""


class RefusedWriteError(StoreError):
    """Something of what a store was given can never be written; `reason` is the code that its dead letter carries."""

    retry_helps = False

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class DeliveryError(PdmError):
    """A message did not reach its route."""

    def __init__(self, message: str, *, retry_helps: bool):
        super().__init__(message)
        self.retry_helps = retry_helps


class RouteGoneError(DeliveryError):
    """The receiver asks never to be told again."""

    def __init__(self, message: str):
        super().__init__(message, retry_helps=False)


class ModelError(PdmError):
    """A trained model cannot be used."""


class DamagedModelError(ModelError):
    """The files of a model do not match their manifest, or it does not reproduce its golden rows."""


class ForeignModelError(ModelError):
    """A model was made for another class of machine, or from lives of another plant."""
