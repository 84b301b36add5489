"""The score store: what a model once said is never asked again. SQLite by default, PostgreSQL by address.

A score is kept under what was read (model, revision, adapter, prompt and tokens in one hash) and the attribute's
definition. Nothing in the store names a run or a dataset, so runs, and processes that run at once, can share one.
"""

from guided_refine.scoring.store.records import Claim, Reader, ScoreRow, StoredScore
from guided_refine.scoring.store.schema import SCHEMA_VERSION
from guided_refine.scoring.store.score_store import Pair, ScoreStore

__all__ = [
    "SCHEMA_VERSION",
    "Claim",
    "Pair",
    "Reader",
    "ScoreRow",
    "ScoreStore",
    "StoredScore",
]
