"""What people and the CMMS do to our records: plain functions of a writing connection.

Every change of an alert is stored as a transition with who made it and why. What an event means for a twin is not
decided here: it leaves a mark, and the next tick folds, judges and closes what no longer stands.
"""

from pdm.respond.act import Act, DuplicateWorkError, MovedOnError, RequestError
from pdm.respond.alerts import (
    acknowledge,
    comment,
    end_shelving,
    note_wrong_alarm,
    resolve,
    shelve,
    undo,
    unshelve,
)
from pdm.respond.events import record_event, void_event
from pdm.respond.interventions import Outcome, accept, put_external, reject, remove_external, set_status
from pdm.respond.models import activate_model, expect_usable, version_before
from pdm.respond.recommendations import accept_recommendation, dismiss_recommendation

__all__ = [
    "Act",
    "DuplicateWorkError",
    "MovedOnError",
    "Outcome",
    "RequestError",
    "accept",
    "accept_recommendation",
    "acknowledge",
    "activate_model",
    "comment",
    "dismiss_recommendation",
    "end_shelving",
    "expect_usable",
    "note_wrong_alarm",
    "put_external",
    "record_event",
    "reject",
    "remove_external",
    "resolve",
    "set_status",
    "shelve",
    "undo",
    "unshelve",
    "version_before",
    "void_event",
]
