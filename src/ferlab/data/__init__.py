"""Faces and their tables: readers, the store, splits, the audit, augmentation and batches."""
