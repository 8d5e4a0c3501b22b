"""Claims of papers, and of this project's own pages, recomputed where they can be."""

from ferlab.evaluation.claims.audit import COLUMNS, FOLDER, audit_claims, measure_models, read_claims, titles
from ferlab.evaluation.claims.schema import VERDICTS, Context, Finding

__all__ = ["COLUMNS", "FOLDER", "VERDICTS", "Context", "Finding", "audit_claims", "measure_models", "read_claims", "titles"]
