"""What a model gets wrong: confused pairs, doubtful labels, and conditions under which errors gather. Knows no torch."""
