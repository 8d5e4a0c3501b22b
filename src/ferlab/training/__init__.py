"""Training: losses, schedules, the LightningModule and fit. Knows stores and models; evaluation never imports it."""
