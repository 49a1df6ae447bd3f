"""The doctor: what each term of an objective does on a model and some batches, and its weight."""

from lossbench.bench.diagnosis.examination import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
