"""Readers of datasets as they were delivered: folders, archives, tables; one file per dataset."""
