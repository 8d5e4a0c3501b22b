"""Exact, mirrored and near-duplicates: codes, search, groups, and the recall on planted copies."""
