"""Training: losses, schedules, the LightningModule and fit. Knows stores and nets; evaluation never imports it."""
