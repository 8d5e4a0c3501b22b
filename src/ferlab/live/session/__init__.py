"""Prompted sessions before a camera, scored as cs231a's live tests."""
