"""What a schema change may do to others, rule by rule: how such a revision is handled unless the plan says otherwise.

| answer | means |
|---|---|
| refuse | the revision is not run |
| approve | it is run once a person has approved it |
| warn | it is shown |
| off | it is not even shown |

Rules of squawk (PostgreSQL) keep squawk's names; those of other engines that mean the same have the same name.
"""

from __future__ import annotations

REFUSE, APPROVE, WARN, OFF = ANSWERS = ("refuse", "approve", "warn", "off")
BATCH_ROWS = 100_000  # rows that one statement may change in one transaction

_LONG = "the table is locked for as long as it takes to read or write all of it"
_CLIENTS = "what runs now may still use it: expand first, contract later"
_FAILS = "it cannot run, or not as it is written"
_OURS = "every statement has a lock timeout already"
_TASTE = "a matter of taste: no lock, no client breaks"

RULES: dict[str, tuple[str, str]] = {
    # -- engines ---
    "table-copy": (REFUSE, _LONG),
    "table-rewrite": (REFUSE, _LONG),
    "table-scan": (REFUSE, _LONG),
    "narrowing-type": (APPROVE, "values that do not fit are lost, or the statement fails"),
    "narrowing-undo": (WARN, "what is written meanwhile may not fit any more on rollback"),
    "duplicate-values": (REFUSE, "it fails as soon as the server meets them"),
    "attributes-forgotten": (REFUSE, "MODIFY and CHANGE state the whole column: what they leave out is gone"),
    "enum-value-in-transaction": (REFUSE, "the server refuses it"),
    "zone-assumed": (WARN, "a time without its zone is another moment elsewhere"),
    "enum-value-stays": (WARN, "the downgrade does not bring the type back as it was"),
    "lock-table": (WARN, "who writes to the table waits as long"),
    "unbatched-rows": (REFUSE, "one long transaction: it holds row locks, and vacuum or purge up"),
    # -- squawk: locks ---
    "adding-field-with-default": (REFUSE, _LONG),
    "adding-foreign-key-constraint": (REFUSE, _LONG),
    "adding-not-nullable-field": (REFUSE, _LONG),
    "adding-serial-primary-key-field": (REFUSE, _LONG),
    "changing-column-type": (REFUSE, _LONG),
    "constraint-missing-not-valid": (REFUSE, _LONG),
    "disallowed-unique-constraint": (REFUSE, _LONG),
    "prefer-repack": (REFUSE, _LONG),
    "require-concurrent-index-creation": (REFUSE, _LONG),
    "require-concurrent-index-deletion": (REFUSE, "it waits for every reader, and every reader for it"),
    "require-concurrent-partition-detach": (REFUSE, _LONG),
    "require-concurrent-reindex": (REFUSE, _LONG),
    # -- squawk: errors ---
    "adding-required-field": (REFUSE, "it fails as soon as the table has a row"),
    "ban-concurrent-index-creation-in-transaction": (REFUSE, _FAILS),
    "ban-uncommitted-transaction": (REFUSE, "a revision's transactions are ours"),
    "syntax-error": (REFUSE, _FAILS),
    "transaction-nesting": (REFUSE, "a revision's transactions are ours"),
    "identifier-too-long": (WARN, "the name is cut"),
    # -- squawk: clients ---
    "ban-drop-column": (APPROVE, _CLIENTS),
    "ban-drop-database": (REFUSE, "nothing brings it back"),
    "ban-drop-not-null": (WARN, "clients may meet NULL where they never did"),
    "ban-drop-table": (APPROVE, _CLIENTS),
    "ban-truncate-cascade": (REFUSE, "it empties tables that the revision does not name"),
    "renaming-column": (APPROVE, _CLIENTS),
    "renaming-table": (APPROVE, _CLIENTS),
    "ban-create-domain-with-constraint": (WARN, "changing the constraint later reads every table that uses it"),
    "ban-alter-domain-with-add-constraint": (REFUSE, "every table that uses the domain is read under a lock"),
    "require-enum-value-ordering": (WARN, "the new value sorts last"),
    # -- squawk: ours, or taste ---
    "require-lock-timeout": (OFF, _OURS),
    "require-statement-timeout": (OFF, _OURS),
    "require-timeout-settings": (OFF, _OURS),
    "prefer-robust-stmts": (OFF, "a revision that was cut off resumes after its last statement"),
    "ban-char-field": (OFF, _TASTE),
    "prefer-bigint-over-int": (OFF, _TASTE),
    "prefer-bigint-over-smallint": (OFF, _TASTE),
    "prefer-identity": (OFF, _TASTE),
    "prefer-text-field": (OFF, _TASTE),
    "prefer-timestamp-tz": (OFF, _TASTE),
    "prefer-timestamptz": (OFF, _TASTE),
    "require-table-schema": (OFF, _TASTE),
    "unused-ignore": (OFF, _TASTE),
}
UNKNOWN = (WARN, "a rule that this version does not know")
