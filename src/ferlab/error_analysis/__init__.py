"""What a model gets wrong: confused pairs, label issues, and conditions under which error rates differ. Without torch."""
