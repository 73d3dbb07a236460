"""Every error that this library raises on purpose.

    RunbookError                 exit status 2: could not run
    ├── PlanError                a plan, inventory or parameter file is wrong (file:line)
    ├── ConfigurationError       environment, secret, port, disk, lock of the environment
    ├── DatabaseError            unreachable, wrong password, missing privilege, wrong version
    │   └── LockRefused          somebody has locked the table; others can be read
    ├── TransferError            copy, capture or sync could not continue
    │   ├── KeyNotAdvancing      a range's last key is not greater than the one before
    │   └── RowRejected          the target refused a row: table, key, column
    ├── JournalError             the record of the run is damaged or not ours
    │   ├── LeaseHeld            another operator acts on this run
    │   └── OutOfOrder           a phase or step before this one has not passed
    ├── EvidenceError            a secret in an artefact, a signature or digest that does not fit
    └── Refused                  exit status 1: ran, and the answer is no
        ├── StepFailed           check, apply or verify of a step failed
        ├── GateFailed           a phase ends here: the failing verdicts are named
        ├── NotDue               a step waits for a time; nothing failed
        ├── CutoverAborted       the state before the cutover is restored
        └── RollbackFailed       something could not be undone: both errors are named

A message reads *subject: observed; expected; state left. Next: action*.
"""

from __future__ import annotations

from typing import Any


class RunbookError(Exception):
    """Base of all: says what was seen, what was expected, what state is left and what to do next.

    Args:
        subject: What the sentence is about: a table, a file, a step.
        observed: What was seen.
        expected: What should have been seen; empty when obvious.
        state: The state things are left in, e.g. "nothing was switched".
        action: The next command or act for the operator.
    """

    exit_status = 2

    def __init__(self, subject: str, observed: str, *, expected: str = "", state: str = "", action: str = ""):
        self.subject, self.observed = subject, observed
        self.expected, self.state, self.action = expected, state, action
        clauses = [f"{subject}: {observed}", f"expected {expected}" if expected else "", state]
        text = "; ".join(clause for clause in clauses if clause)
        super().__init__(f"{text}. Next: {action}" if action else text)


class PlanError(RunbookError):
    """A plan, inventory or parameter file is wrong; `subject` is `file:line`."""


class ConfigurationError(RunbookError):
    """The environment is not fit to run: secret, port, disk, missing program."""


class DatabaseError(RunbookError):
    """A database cannot be reached or may not be used as asked."""


class LockRefused(DatabaseError):
    """A lock was not granted in time; what it is not needed for can be done."""


class TransferError(RunbookError):
    """Copy, capture or sync could not continue; what was committed stays and is resumed."""


class KeyNotAdvancing(TransferError):
    """A range's last key is not greater than the one before: the key order is not what we think."""


class RowRejected(TransferError):
    """The target refused a row; the message names table, key and column.

    `keys` holds the keys of the target's rows that a unique conflict was with, where they are known.
    """

    keys: tuple[tuple[Any, ...], ...] = ()


class JournalError(RunbookError):
    """The record of the run is damaged, or not ours to write."""


class LeaseHeld(JournalError):
    """Another operator acts on this run."""


class OutOfOrder(JournalError):
    """A phase or step that must come first has not passed for this plan."""


class EvidenceError(RunbookError):
    """A secret in an artefact, or a digest or signature that does not fit."""


class Refused(RunbookError):
    """It ran, and the answer is no."""

    exit_status = 1


class StepFailed(Refused):
    """Check, apply or verify of a step failed."""


class GateFailed(Refused):
    """A phase may not end here; the failing verdicts are named."""


class NotDue(Refused):
    """A step waits for a time: what for, and until when, is recorded. Nothing failed, and the run is let go."""


class CutoverAborted(Refused):
    """The cutover did not happen; the state before it is restored."""


class RollbackFailed(Refused):
    """Something could not be undone; every error is named."""
