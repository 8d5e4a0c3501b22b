"""Linked views of the predictions of a run."""
