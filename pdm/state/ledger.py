"""The ledger of scheduled runs, one row for each job and time that it was scheduled for."""

from sqlalchemy import Connection, delete, insert, select, update

from pdm.state.schema import runs

INTERRUPTED = "interrupted"


def begin_run(connection: Connection, job: str, scheduled_ms: int, started_ms: int) -> bool:
    """Claim a run; False if this job already ran, or runs, for that time. One cut short by a crash may run again."""
    key = (runs.c.job == job) & (runs.c.scheduled_ms == scheduled_ms)
    connection.execute(delete(runs).where(key, runs.c.outcome == INTERRUPTED))
    if connection.execute(select(runs.c.job).where(key)).first() is not None:
        return False
    connection.execute(
        insert(runs).values(job=job, scheduled_ms=scheduled_ms, started_ms=started_ms, outcome="running")
    )
    return True


def end_run(connection: Connection, job: str, scheduled_ms: int, finished_ms: int, outcome: str, detail: str) -> None:
    key = (runs.c.job == job) & (runs.c.scheduled_ms == scheduled_ms)
    connection.execute(update(runs).where(key).values(finished_ms=finished_ms, outcome=outcome, detail=detail))


def interrupt_runs(connection: Connection) -> None:
    """Runs that a crash cut short are named so at the next start."""
    connection.execute(update(runs).where(runs.c.outcome == "running").values(outcome=INTERRUPTED))
