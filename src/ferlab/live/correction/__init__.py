"""Doubtful labels looked at again, decisions kept, and a run fine-tuned on the result."""
