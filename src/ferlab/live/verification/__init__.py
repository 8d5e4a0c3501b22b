"""The expression check: prompts, liveness, evidence, and what it is worth against simulated attacks."""
